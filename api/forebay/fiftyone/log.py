"""Where the adapter's messages go: to FiftyOne's own log, which prints them as FiftyOne's are printed."""

import logging

log = logging.getLogger("fiftyone.core.cache")
