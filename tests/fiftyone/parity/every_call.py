"""All calls, in the order in which they are made."""

from __future__ import annotations

from tests.fiftyone.parity import brain, datasets, exports, files, labels, models, paths, pixels, solids
from tests.fiftyone.parity.record import CALLS

__all__ = ["CALLS", "brain", "datasets", "exports", "files", "labels", "models", "paths", "pixels", "solids"]
