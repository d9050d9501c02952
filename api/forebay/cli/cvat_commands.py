"""``forebay cvat``: manifests for CVAT, and the buckets that it knows."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli.output import Json, emit, put, say, warn
from forebay.cli.shared_options import State, settings
from forebay.cli.targets import Column, Counter, read_targets
from forebay.config.sizes import count

_HELP = "Annotate media in a bucket with CVAT: manifest, attach."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help=_HELP, no_args_is_help=True)
    group.command("manifest")(manifest)
    group.command("attach")(attach)
    app.add_typer(group, name="cvat")


_Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="URI|PREFIX/|@FILE|-",
        help="Images; prefixes that end in / (or a bucket alone); @FILE for a file of URIs as text, JSON "
        "lines or CSV; - for standard input. Or one video.",
        show_default=False,
    ),
]
_Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="URI|FILE",
        help="Where the manifest goes. [dim]default: manifest.jsonl at the bucket's root[/]",
        show_default=False,
    ),
]
_Root = Annotated[
    str | None,
    typer.Option(
        metavar="PREFIX/",
        help="For a local FILE: the directory that it will lie in. [dim]default: the bucket's root[/]",
        show_default=False,
    ),
]
_Anew = Annotated[
    bool, typer.Option("--anew", metavar="", help="Rebuild the manifest instead of adding new images.")
]


@settings()
def manifest(
    ctx: typer.Context,
    targets: _Targets,
    output: _Output = None,
    root: _Root = None,
    anew: _Anew = False,
    column: Column = None,
    json: Json = False,
) -> int:
    """Write the manifest by which CVAT knows a bucket's images, from their header bytes alone."""

    # Imported here, so that --help and the other commands of this module start without them.
    from forebay.cvat.image_manifests import create_manifest
    from forebay.cvat.video_manifests import create_video_manifest, is_video

    state: State = ctx.obj
    uris = read_targets(state, targets, column)
    with closing(state.cache()) as cache, Counter("reading headers", "image") as counter:
        if len(uris) == 1 and is_video(uris[0]):
            done = create_video_manifest(uris[0], output, cache=cache)
        else:
            done = create_manifest(
                uris, output, root=root, update=not anew, cache=cache, progress=counter.show
            )
    if json:
        emit(asdict(done))
        return 1 if done.failed else 0
    for uri, reason in done.failures[:5]:
        warn(f"{uri}: {reason}")
    if done.failed:
        warn(f"{count(done.failed, 'image')} could not be read, and {_are(done.failed)} not in the manifest")
    if done.ignored:
        what = "is no image, by its name" if done.ignored == 1 else "are no images, by their names"
        say(f"{count(done.ignored, 'object')} below the prefix {what}")
    if done.context:
        say(
            f"{count(done.context, 'image')} in related_images/ {_are(done.context)} left out: CVAT shows "
            f"them beside others, not as frames"
        )
    if done.gone:
        were, them = ("was", "it") if done.gone == 1 else ("were", "them")
        gone = f"{count(done.gone, 'image')} of the manifest {were} deleted from the bucket"
        warn(f"{gone}; --anew removes {them}")
    before = f", {done.kept:,} {'was' if done.kept == 1 else 'were'} already listed" if done.kept else ""
    put(f"{done.path}: {done.added:,} added{before}")
    return 1 if done.failed else 0


_Bucket = Annotated[
    str, typer.Argument(metavar="BUCKET", help="For instance s3://photos.", show_default=False)
]
_Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="ID",
        envvar="FOREBAY_CVAT_STORAGE_KEY",
        help="An access key for CVAT, of a user who may only read this bucket. Its secret is taken from "
        "FOREBAY_CVAT_STORAGE_SECRET_KEY, or asked for.",
        show_default=False,
    ),
]
_KeyFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="For GCS: the key file of a service account.", show_default=False),
]
_Anonymous = Annotated[bool, typer.Option("--anonymous", metavar="", help="The bucket is public.")]
_Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The S3 server as CVAT reaches it. [dim]default: as this machine does[/]",
        show_default=False,
    ),
]
_Region = Annotated[str | None, typer.Option(metavar="NAME", help="The bucket's region.", show_default=False)]
_Name = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="What CVAT shows. [dim]default: the bucket's name[/]", show_default=False
    ),
]
_Manifests = Annotated[
    list[str] | None,
    typer.Option(
        "--manifest", metavar="KEY", help="A manifest in it, for CVAT's own pages; may be repeated."
    ),
]
_Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="CVAT. [dim]default: FIFTYONE_CVAT_URL[/]", show_default=False),
]
_Organization = Annotated[
    str | None,
    typer.Option(
        metavar="SLUG", help="Register the bucket in this organization of CVAT.", show_default=False
    ),
]


@settings()
def attach(
    ctx: typer.Context,
    bucket: _Bucket,
    key: _Key = None,
    key_file: _KeyFile = None,
    anonymous: _Anonymous = False,
    endpoint_url: _Endpoint = None,
    region: _Region = None,
    name: _Name = None,
    manifests: _Manifests = None,
    cvat_url: _Url = None,
    organization: _Organization = None,
    json: Json = False,
) -> int:
    """Tell CVAT about a bucket, with credentials that are given to it for this.

    You log in with FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD, or CVAT_ACCESS_TOKEN.
    """

    # Imported here, so that --help and the other commands of this module start without them.
    from forebay.cvat import attachment
    from forebay.cvat.server import CvatServer

    state: State = ctx.obj
    secret = os.environ.get(attachment.SECRET_VARIABLE)
    if key and not secret and sys.stdin.isatty():
        secret = typer.prompt("Secret key", hide_input=True, err=True)
    storage = attachment.attach(
        bucket,
        server=CvatServer.connect(cvat_url, organization=organization),
        key=key,
        secret_key=secret,
        key_file=key_file,
        anonymous=anonymous,
        endpoint_url=endpoint_url,
        region=region,
        name=name,
        manifests=manifests or (),
        config=state.config(),
    )
    if json:
        emit(asdict(storage))
    else:
        put(f"{bucket} is CVAT's cloud storage {storage}")
    return 0


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
