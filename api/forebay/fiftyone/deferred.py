"""FiftyOne's and ETA's modules, each imported when one of its attributes is first used.

FiftyOne loads the adapter while FiftyOne itself is being imported (its setting ``module_path``), and a
program may import `forebay.fiftyone` first. So no module of the adapter imports FiftyOne while it loads;
they use these stand-ins, under the names that FiftyOne's own code gives the modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _DeferredModule:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


etau: Any = _DeferredModule("eta.core.utils")
etav: Any = _DeferredModule("eta.core.video")
etaw: Any = _DeferredModule("eta.core.web")
fo: Any = _DeferredModule("fiftyone")
fod: Any = _DeferredModule("fiftyone.brain.internal.core.duplicates")
fom: Any = _DeferredModule("fiftyone.core.media")
fomr: Any = _DeferredModule("fiftyone.multimodal.media_reference.field_model")
fomd: Any = _DeferredModule("fiftyone.core.metadata")
fos: Any = _DeferredModule("fiftyone.core.storage")
fosm: Any = _DeferredModule("fiftyone.server.metadata")
fost: Any = _DeferredModule("fiftyone.core.stages")
fo3d: Any = _DeferredModule("fiftyone.core.threed")
fou: Any = _DeferredModule("fiftyone.core.utils")
fou3d: Any = _DeferredModule("fiftyone.utils.utils3d")
