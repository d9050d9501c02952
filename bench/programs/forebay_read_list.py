"""Reads a manifest to its end, and prints how many rows it has: FILE [COLUMN OF CHECKSUMS]."""

import sys

from forebay.manifests.manifest import ManifestOptions, read_parts
from forebay.manifests.manifest_file import no_remote

options = ManifestOptions(checksum_column=sys.argv[2] if len(sys.argv) > 2 else None)
print(sum(map(len, read_parts(sys.argv[1], options, no_remote))))
