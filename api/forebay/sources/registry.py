"""All sources of one cache."""

from __future__ import annotations

from forebay.config import MediaCacheConfig
from forebay.sources.allowed import Allowed
from forebay.sources.base import Source
from forebay.sources.process import PerProcess
from forebay.uri import MediaURI


class Sources:
    """Gives each URI its source, which is made when it is first needed.

    Safe to use from many threads, and in a process forked from one that used it.

    Raises:
        ConfigError: ``allowed_sources`` has a prefix that cannot be meant.
    """

    def __init__(self, config: MediaCacheConfig) -> None:
        self._config = config
        self._allowed = Allowed(config.allowed_sources)
        makers = {"s3": self._s3, "minio": self._minio, "gs": self._gcs}
        self._sources = {scheme: PerProcess(make) for scheme, make in makers.items()}
        self._sources["http"] = self._sources["https"] = PerProcess(self._http)

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``.

        Raises:
            SourceNotAllowedError: ``allowed_sources`` does not admit the URI.
            ConfigError: what configures this kind of source cannot be used.
            SourceError: a package is missing that this kind of source needs.
        """
        self._allowed.check(uri)
        return self._sources[uri.scheme].get()

    # The clouds' packages take long to import, so each only when it is wanted.

    def _s3(self) -> Source:
        from forebay.sources.s3 import s3_source

        return s3_source(self._config)

    def _minio(self) -> Source:
        from forebay.sources.s3 import minio_source

        return minio_source(self._config)

    def _gcs(self) -> Source:
        from forebay.sources.gcs import gcs_source

        return gcs_source(self._config)

    def _http(self) -> Source:
        from forebay.sources.http import HTTPSource

        return HTTPSource(self._config, self._allowed)
