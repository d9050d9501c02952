"""The sources of one cache: which one serves a URI, and whether it may be asked."""

from __future__ import annotations

from typing import Any

from forebay.config import MediaCacheConfig
from forebay.errors import SourceError
from forebay.sources.allowlist import Allowlist
from forebay.sources.base import Source
from forebay.sources.circuit_breaker import CircuitBreaker
from forebay.sources.per_process import PerProcess
from forebay.sources.routes import transport_of
from forebay.sources.writing import Writer
from forebay.transport import Transport
from forebay.uri import MediaURI


class Sources:
    """Finds the source of a URI, and makes it when it is first needed.

    Safe to use from many threads, and in a process forked from one that used it.

    Raises:
        ConfigError: ``allowed_sources`` has a prefix that names no source.
    """

    def __init__(self, config: MediaCacheConfig) -> None:
        self._config = config
        self._allowlist = Allowlist(config.allowed_sources)
        self._circuit_breaker = CircuitBreaker()
        self._transport = PerProcess(lambda: transport_of(config))
        makers = {"s3": self._s3, "minio": self._minio, "gs": self._gcs}
        self._sources = {scheme: PerProcess(make) for scheme, make in makers.items()}
        writers = {"s3": self._s3_writer, "minio": self._minio_writer, "gs": self._gcs_writer}
        self._writers = {scheme: PerProcess(make) for scheme, make in writers.items()}
        self._sources["http"] = self._sources["https"] = PerProcess(self._http)

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``.

        Raises:
            SourceNotAllowedError: ``allowed_sources`` does not admit the URI.
            NotTriedError: its server did not answer lately; see `forebay.sources.circuit_breaker`.
            ConfigError: the credentials or options of this kind of source cannot be used.
            SourceError: a package is missing that this kind of source needs.
        """
        self._allowlist.check(uri)
        self._circuit_breaker.check(uri)
        return self._sources[uri.scheme].get()

    def record(self, uri: MediaURI, error: Exception | None) -> None:
        """Records how the last attempt at ``uri`` ended; after some failures its server is left alone."""
        self._circuit_breaker.record(uri, error)

    def writer_for(self, uri: MediaURI) -> Writer:
        """The writer for the source of ``uri``, for callers whose purpose is to change remote objects.

        Raises:
            SourceNotAllowedError, ConfigError: as `for_uri`.
            SourceError: also for http(s) URLs, which cannot be written.
        """
        self._allowlist.check(uri)
        if uri.scheme not in self._writers:
            raise SourceError(
                uri.redacted, "http(s) URLs can only be read; write to an s3://, gs:// or minio:// URI"
            )
        return self._writers[uri.scheme].get()

    def open_transport(self) -> Transport:
        """The transport of all sources, made for this process. Its threads start with the first request."""
        return self._transport.get()

    def close(self) -> None:
        """Ends the transport's threads, connections and requests. What is asked afterwards begins anew."""
        transport = self._transport.made
        values: list[PerProcess[Any]] = [self._transport, *self._sources.values(), *self._writers.values()]
        for value in values:
            value.made = None
        if transport is not None:
            transport.close()

    # Imported in these functions: the packages of the clouds take 100 ms and more to import, and a program
    # mostly needs one of them.

    def _s3(self) -> Source:
        from forebay.sources.s3 import s3_source

        return s3_source(self._config, self.open_transport())

    def _minio(self) -> Source:
        from forebay.sources.s3 import minio_source

        return minio_source(self._config, self.open_transport())

    def _gcs(self) -> Source:
        from forebay.sources.gcs import gcs_source

        return gcs_source(self._config, self.open_transport())

    def _s3_writer(self) -> Writer:
        from forebay.sources.s3 import s3_writer

        return s3_writer(self._config, self.open_transport())

    def _minio_writer(self) -> Writer:
        from forebay.sources.s3 import minio_writer

        return minio_writer(self._config, self.open_transport())

    def _gcs_writer(self) -> Writer:
        from forebay.sources.gcs_writer import gcs_writer

        return gcs_writer(self._config, self.open_transport())

    def _http(self) -> Source:
        from forebay.sources.http import HTTPSource

        return HTTPSource(self._config, self._allowlist, self.open_transport())
