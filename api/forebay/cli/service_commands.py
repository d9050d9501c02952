"""``forebay worker``, ``forebay flower`` and ``forebay up``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay import capacity
from forebay.cli.flower import run as run_flower
from forebay.cli.log_lines import log_supervisor, log_worker
from forebay.cli.output import Json, say
from forebay.cli.shared_options import State, settings
from forebay.cli.stack import Stack
from forebay.config import mask_url
from forebay.config.request_limits import parts_of
from forebay.config.sizes import count
from forebay.config.timetable import part_of

if TYPE_CHECKING:
    from forebay.config import MediaCacheConfig


class Pool(str, Enum):
    """The pools of Celery that a worker may use."""

    threads = "threads"
    prefork = "prefork"
    solo = "solo"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("worker")(worker)
    app.command("flower")(flower)
    app.command("up")(up)


@settings("volume", "redis_url", "cache_dir", "cache_size", "bwlimit", "log_format")
def worker(
    ctx: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", metavar="N", help="Messages at a time; by default one per CPU."),
    ] = None,
    pool: Annotated[Pool, typer.Option("--pool", help="What runs the downloads.")] = Pool.threads,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", metavar="NAME", help="By default, the volume and the process id."),
    ] = None,
    processes: Annotated[
        str | None,
        typer.Option(
            "--processes",
            metavar="N|auto",
            help="Processes, each with --concurrency; auto: as many as there are CPUs and memory for.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Work for the fleet: a Celery worker of the volume. Ctrl-C ends it cleanly, a second one at once.

    With --processes, a supervisor starts again what dies, and SIGHUP restarts the workers one by one. They
    are called NAME.1, NAME.2 and so on; NAME is the volume by default.

    With --json, its log is JSON lines on stdout; with --log-format json, on stderr.
    """
    # First of all, so that this process ends with its supervisor, if it has one.
    supervised: Any = importlib.import_module("forebay_worker.line").attach()
    state = State.of(ctx)
    if concurrency is not None:
        state.given["num_workers"] = concurrency
    config = state.config()
    stream = sys.stdout if json else sys.stderr
    if processes is not None:
        options = ["--pool", pool.value, *["--json"] * json, *["--verbose"] * state.verbose]
        log_supervisor("json" if json else config.log_format, stream, state.verbose)
        return _supervise(state, config, processes, name or config.volume, options)
    if pool.value == "prefork":
        _divide_bandwidth(state, config, config.num_workers)
    # The application and the children of a prefork pool read their settings from the environment.
    os.environ.update(state.environment())
    application: Any = importlib.import_module("forebay_worker.app").app
    application.conf.worker_pool = pool.value
    log_worker("json" if json else config.log_format, stream, state.verbose)
    _tell_when_ready(config, "" if supervised else "; Ctrl-C ends it")
    program: Any = importlib.import_module("forebay_worker.program")
    return int(program.run(application, name or f"{config.volume}.{os.getpid()}"))


def _supervise(state: State, config: MediaCacheConfig, processes: str, name: str, options: list[str]) -> int:
    supervisor: Any = importlib.import_module("forebay_worker.supervisor")
    metrics: Any = importlib.import_module("forebay_worker.metrics_sum").MetricsSum()
    names = [f"{name}.{number}" for number in range(1, capacity.parse(processes) + 1)]
    _divide_bandwidth(state, config, len(names))
    os.environ.update(state.environment())
    say(
        f"{count(len(names), 'worker')} of volume {config.volume}, {count(config.num_workers, 'message')} "
        f"at a time each; process {os.getpid()} supervises, SIGHUP restarts them one by one, Ctrl-C ends them"
    )
    metrics.serve(config)
    command = [sys.executable, "-m", "forebay", "worker", *options]
    return int(supervisor.Supervisor(command, names, metrics).run())


def _divide_bandwidth(state: State, config: MediaCacheConfig, processes: int) -> None:
    """Gives each of the processes that one command starts its part of what the command may download."""
    if config.bwlimit is not None:
        state.given["bwlimit"] = part_of(config.bwlimit, processes)
    if config.request_limits:
        # For the environment, which has JSON.
        state.given["request_limits"] = json.dumps(parts_of(config.request_limits, processes))


def _tell_when_ready(config: MediaCacheConfig, how_to_end: str) -> None:
    signals: Any = importlib.import_module("celery.signals")

    def ready(sender: Any, **_: Any) -> None:
        where = "the embedded index" if config.redis_url is None else mask_url(config.redis_url)
        say(
            f"{sender.hostname} is ready: volume {config.volume} at {config.cache_dir}, {where}, "
            f"{count(config.num_workers, 'message')} at a time{how_to_end}"
        )

    signals.worker_ready.connect(ready, weak=False)


@settings("redis_url")
def flower(
    ctx: typer.Context,
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="PORT", help="The port there.")] = 5555,
    max_tasks: Annotated[
        int, typer.Option("--max-tasks", min=1, metavar="N", help="How many tasks it remembers.")
    ] = 10_000,
    url_prefix: Annotated[
        str | None,
        typer.Option("--url-prefix", metavar="PATH", help="The path under which a proxy shows it."),
    ] = None,
) -> int:
    """Show the fleet's workers and tasks in a browser, with Flower. Ctrl-C ends it.

    FIFTYONE_MEDIA_CACHE_FLOWER_BASIC_AUTH=user:password asks for a password; other addresses than those
    of this machine need one.
    """
    return run_flower(State.of(ctx), address=address, port=port, max_tasks=max_tasks, url_prefix=url_prefix)


@settings("volume", "redis_url", "cache_dir", "cache_size")
def up(
    ctx: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", metavar="N", help="Messages at a time; by default one per CPU."),
    ] = None,
    flower: Annotated[
        bool, typer.Option("--flower/--no-flower", metavar="", help="Start Flower, too, if it is installed.")
    ] = True,
    flower_port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="Flower's port on 127.0.0.1; by default 5555, or a free one."),
    ] = None,
    json: Json = False,
) -> int:
    """Start all that one machine needs: the embedded index, a worker, and Flower. Ctrl-C stops it all."""
    state = State.of(ctx)
    if concurrency is not None:
        state.given["num_workers"] = concurrency
    return Stack(state, flower=flower, flower_port=flower_port, json=json).run()
