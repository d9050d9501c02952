"""The log of the adapter: a logger of FiftyOne's, so that its messages are printed as FiftyOne's are."""

import logging

log = logging.getLogger("fiftyone.core.cache")
