"""The functions of ``fiftyone.core.storage`` for remote paths; for local ones, they call FiftyOne's own.

* `paths`: functions that look at the text of a path only;
* `lookup`: listings, sizes, and whether a path exists;
* `open_files`: reading through the cache, and writing;
* `file_operations`: copying, moving and deleting files;
* `folder_operations`: the same for folders, and archives;
* `uploads`: ``upload_media`` and ``get_url``;
* `concurrency`: how many files are handled at a time.
"""

from forebay.fiftyone.storage import (
    concurrency,
    file_operations,
    folder_operations,
    lookup,
    open_files,
    paths,
    uploads,
)

__all__ = ["concurrency", "file_operations", "folder_operations", "lookup", "open_files", "paths", "uploads"]
