"""The environment of everything that is measured."""

from __future__ import annotations

import os
from pathlib import Path

_PREFIXES = ("AWS_", "FIFTYONE_MEDIA_CACHE_", "FOREBAY_", "GOOGLE_", "RCLONE_", "S3_", "MSC_", "STORAGE_")
_NAMES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def forget_settings() -> None:
    """Measures with defaults, whatever this machine is configured for."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name in _NAMES or name.lower() in _PROXIES:
            del os.environ[name]
    os.environ["FIFTYONE_MEDIA_CACHE_CONFIG_PATH"] = str(Path(__file__).with_name("settings.json"))
