"""``forebay metrics``: the metrics of a volume's fleet, for Prometheus."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from forebay.cli.output import Json, emit, put, say
from forebay.cli.shared_options import State, settings

_EPILOG = """
[bold]Examples[/]

forebay metrics --volume all --serve 9464

forebay metrics | grep forebay_hit_ratio
"""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(epilog=_EPILOG)(metrics)


@settings("volume", "redis_url")
def metrics(
    ctx: typer.Context,
    serve: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Serve them over HTTP; on 127.0.0.1 without HOST."),
    ] = None,
    json: Json = False,
) -> int:
    """Print what Redis knows of the volume for Prometheus, or serve it. --volume also takes a,b or all."""
    # Imported here: the client of Prometheus takes long to import, and --help does without.
    from forebay.metrics import exposition
    from forebay.metrics.volume_metrics import VolumeMetrics

    state = State.of(ctx)
    names = state.volumes()
    config = state.config()
    address = None if serve is None else exposition.parse_address(serve)
    url = config.redis_url or state.cache().engine.open_index().connection.url
    of_volumes = VolumeMetrics(config, url, None if names == "all" else names or [config.volume])
    if address is None:
        if json:
            emit(
                {
                    volume: [
                        {"name": one.metric.shown, "value": one.value}
                        | {"labels": dict(zip(one.metric.labels, one.labels, strict=True))}
                        | ({"buckets": one.buckets} if one.buckets else {})
                        for one in values
                    ]
                    for volume, values in of_volumes.report().items()
                }
            )
        else:
            put(exposition.text(exposition.registry(of_volumes.collector())).rstrip("\n"))
        return 0
    server, port = exposition.serve(exposition.registry(of_volumes.collector()), *address)
    say(f"metrics at http://{address[0]}:{port}/metrics; Ctrl-C ends it")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()
    return 0
