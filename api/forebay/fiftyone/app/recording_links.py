"""Links to the files of recordings, such as the episodes of a LeRobot dataset, in buckets.

A sample of a recording has no path. It names a source of its dataset and a part of it, from which the server
composes the paths of the files that the browser reads, by ranges.
"""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.app import provenance
from forebay.fiftyone.app.link_rewriting import link
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.collection_media import has_remote_recordings
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote


@hooks.around("fiftyone.multimodal.media_reference.field_model", "resolve_sample_media")
async def resolve_sample_media(original: Wrapper, view: Any, nodes: Any) -> Any:
    """Resolves what samples have in the database, where a stage of the view may have put anything else."""
    if nodes and view._contains_media_references():
        nodes = await in_thread(_trusted, view, list(nodes))
    return await original(view, nodes)


@hooks.around("fiftyone.server.samples", "_media_asset_srcs")
def media_asset_srcs(original: Wrapper, unaddressable: Any) -> Any:
    linked = {asset: link(path) for asset, path in unaddressable.items() if is_remote(path)}
    return original({asset: path for asset, path in unaddressable.items() if asset not in linked}) | linked


def _trusted(view: Any, nodes: list[Any]) -> list[Any]:
    if not has_remote_recordings(view):
        return nodes
    stored = provenance.stored_references(view, [node.sample for node in nodes])
    if stored is None:
        return nodes
    return [node for node in nodes if stored.get(node.sample["_id"]) == node.sample.get("media_reference")]
