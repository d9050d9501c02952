"""The functions of ``fiftyone.core.storage``, for what is remote.

`paths` has those that look at names only; given local paths alone, every function is FiftyOne's own.

* `looking`: what is there, and what it is;
* `opening`: reading, through the cache, and writing;
* `moving`: copies, moves and deletions;
* `folders`: the same for whole folders, and archives;
* `uploads`: ``upload_media`` and ``get_url``;
* `pool`: how many of them at a time.
"""

from forebay.fiftyone.storage import folders, looking, moving, opening, pool, uploads

__all__ = ["folders", "looking", "moving", "opening", "pool", "uploads"]
