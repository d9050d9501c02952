"""All sources of one cache."""

from __future__ import annotations

from forebay.config import MediaCacheConfig
from forebay.errors import SourceError
from forebay.sources.allowed import Allowed
from forebay.sources.base import Source
from forebay.sources.process import PerProcess
from forebay.sources.reach import Reach
from forebay.sources.writing import Writer
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
        self._reach = Reach()
        makers = {"s3": self._s3, "minio": self._minio, "gs": self._gcs}
        self._sources = {scheme: PerProcess(make) for scheme, make in makers.items()}
        writers = {"s3": self._s3_writer, "minio": self._minio_writer, "gs": self._gcs_writer}
        self._writers = {scheme: PerProcess(make) for scheme, make in writers.items()}
        self._sources["http"] = self._sources["https"] = PerProcess(self._http)

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``.

        Raises:
            SourceNotAllowedError: ``allowed_sources`` does not admit the URI.
            NotTriedError: its server does not answer.
            ConfigError: what configures this kind of source cannot be used.
            SourceError: a package is missing that this kind of source needs.
        """
        self._allowed.check(uri)
        self._reach.check(uri)
        return self._sources[uri.scheme].get()

    def note(self, uri: MediaURI, error: Exception | None) -> None:
        """Is told how the last attempt at ``uri`` ended, so that a silent server is not asked for long."""
        self._reach.note(uri, error)

    def writer_for(self, uri: MediaURI) -> Writer:
        """What writes to the source of ``uri``; for those whose purpose is to change remote objects.

        Raises:
            SourceNotAllowedError, ConfigError: as `for_uri`.
            SourceError: also for http(s) URLs, which cannot be written.
        """
        self._allowed.check(uri)
        if uri.scheme not in self._writers:
            raise SourceError(
                uri.redacted, "http(s) URLs can only be read; write to an s3://, gs:// or minio:// URI"
            )
        return self._writers[uri.scheme].get()

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

    def _s3_writer(self) -> Writer:
        from forebay.sources.s3 import s3_writer

        return s3_writer(self._config)

    def _minio_writer(self) -> Writer:
        from forebay.sources.s3 import minio_writer

        return minio_writer(self._config)

    def _gcs_writer(self) -> Writer:
        from forebay.sources.gcs_writer import gcs_writer

        return gcs_writer(self._config)

    def _http(self) -> Source:
        from forebay.sources.http import HTTPSource

        return HTTPSource(self._config, self._allowed)
