"""Parts of objects for a fetch: those that a job names, and those that an object lacks."""

from __future__ import annotations

from forebay.errors import ObjectChangedError
from forebay.fetch.wanted_parts import Parts, wanted_blocks
from forebay.parts.block_reader import Blocks
from forebay.parts.completion import complete, fits
from forebay.parts.holder import Holder
from forebay.parts.versions import find_version, known_version
from forebay.uri import MediaURI

# An object that is replaced more often while it is fetched is not worth waiting for.
_MAX_VERSIONS = 3


class PartWork:
    """What `forebay.fetch.object_parts` needs.

    Args:
        holder: of the volume.
    """

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def complete(self, uri: MediaURI) -> int | None:
        """Makes of an object's blocks an ordinary cached file, and fetches only those that are missing.

        Returns:
            the bytes that were downloaded; ``None`` where there are no blocks, where the file and its blocks
            do not fit into the cache together, or where the object is another one by now, whose old blocks
            are then removed.

        Raises:
            ForebayError: a block cannot be fetched.
        """
        version = known_version(self._holder, uri.entry)
        if version is None or not fits(self._holder, version):
            return None
        try:
            return complete(self._holder, uri, version)
        except ObjectChangedError:
            return None

    def warm(self, uri: MediaURI, wanted: Parts) -> int | None:
        """Fetches the blocks that hold some bytes of an object, and with them the first, which tells its
        version; makes an ordinary cached file of them where they are all that it has.

        Returns:
            the bytes that were downloaded; ``None`` where its source does not send parts of one version.

        Raises:
            ForebayError: they cannot be fetched.
        """
        downloaded, files = 0, self._holder.files
        for attempt in range(_MAX_VERSIONS):
            if files.touch(uri.entry) is not None:
                return downloaded
            version, came = find_version(self._holder, uri, large_only=False)
            downloaded += came
            if version is None:
                # It may have come at once.
                return downloaded if files.touch(uri.entry) is not None else None
            blocks = Blocks(self._holder, uri, version)
            missing = [
                n for n in wanted_blocks(wanted, version) if files.touch(version.block(n).entry) is None
            ]
            try:
                downloaded += blocks.fetch(missing) if missing else 0
                if fits(self._holder, version) and not blocks.missing():
                    complete(self._holder, uri, version)
            except ObjectChangedError:
                if attempt == _MAX_VERSIONS - 1:
                    raise
            else:
                return downloaded
        return None
