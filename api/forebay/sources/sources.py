"""The sources of one cache: which one serves a URI, and whether it may be asked."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from forebay.config import MediaCacheConfig
from forebay.errors import SourceError, SourceNotAllowedError
from forebay.sources.allowlist import Allowlist
from forebay.sources.base import Source
from forebay.sources.circuit_breaker import CircuitBreaker
from forebay.sources.credential_rules import CredentialRule, CredentialRules
from forebay.sources.per_process import PerProcess
from forebay.sources.routes import transport_of
from forebay.sources.server_urls import ServerSource, ServerUrls
from forebay.sources.writing import Writer
from forebay.transport import Transport
from forebay.uri import MediaURI, shown
from forebay.uri.local_roots import SCHEME as LOCAL_SCHEME

_SHOWN_PREFIXES = 5


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
        self._rules = CredentialRules(config)
        self._urls = PerProcess(lambda: ServerUrls(config, self._rules))
        # Source and writer of each scheme, and of each rule for it.
        self._sources: dict[tuple[str, CredentialRule | None], PerProcess[Source]] = {}
        self._writers: dict[tuple[str, CredentialRule | None], PerProcess[Writer]] = {}

    def for_uri(self, uri: MediaURI) -> Source:
        """The source of ``uri``.

        Raises:
            SourceNotAllowedError: ``allowed_sources`` does not admit the URI.
            NotTriedError: its server did not answer lately; see `forebay.sources.circuit_breaker`.
            ConfigError: the credentials or options of this kind of source cannot be used.
            SourceError: a package is missing that this kind of source needs.
        """
        stored = self._checked(uri)
        self._circuit_breaker.check(uri)
        source = self._source_of("http" if stored.is_url else stored.scheme, self._rules.of(stored)).get()
        return source if stored is uri else ServerSource(source, self._checked)

    def check(self, uri: MediaURI) -> None:
        """Checks that a URI may be fetched.

        Raises:
            SourceNotAllowedError: as `for_uri`.
        """
        self._checked(uri)

    def is_stored(self, uri: MediaURI) -> bool:
        """Whether a URI, or a URL of a server of the settings, names an object of a store.

        Raises:
            SourceNotAllowedError: as `for_uri`.
        """
        return not self._checked(uri).is_url

    def trusts(self, uri: MediaURI) -> bool:
        """Whether the settings name the very host of a URL, so that it may have a private address."""
        return self._checked(uri) is not uri or self._allowlist.trusts(uri)

    def explain(self, uri: MediaURI) -> str:
        """The credentials that are used for a URI, and why these; for people, without secrets.

        Raises:
            ForebayError: as `for_uri`.
        """
        text = self.for_uri(uri).explain(uri)
        stored = self._checked(uri)
        others = [one.prefix for one in self._rules.all if one.scheme == stored.scheme]
        if others and self._rules.of(stored) is None:
            prefixes = ", ".join(map(shown, others[:_SHOWN_PREFIXES])) + (
                ", …" if others[_SHOWN_PREFIXES:] else ""
            )
            text += f"; in the setting credentials, no prefix is for it ({prefixes})"
        return text

    def record(self, uri: MediaURI, error: Exception | None) -> None:
        """Records how the last attempt at ``uri`` ended; after some failures its server is left alone."""
        self._circuit_breaker.record(uri, error)

    def writer_for(self, uri: MediaURI) -> Writer:
        """The writer for the source of ``uri``, for callers whose purpose is to change remote objects.

        Raises:
            SourceNotAllowedError, ConfigError: as `for_uri`.
            SourceError: also for http(s) URLs, which cannot be written.
        """
        stored = self._checked(uri)
        if uri.scheme not in _WRITERS:
            meant = "an s3://, gs://, minio:// or az:// URI"
            if stored is not uri:
                meant = f"{stored.scheme}://{stored.bucket}/{stored.key}"
            raise SourceError(uri.redacted, f"http(s) URLs can only be read; write to {meant}")
        place = uri.scheme, self._rules.of(uri)
        writer = self._writers.get(place)
        if writer is None:
            make = _WRITERS[uri.scheme]
            made = PerProcess(
                lambda: self._rules.make(place[1], lambda config: make(config, self.open_transport()))
            )
            writer = self._writers.setdefault(place, made)
        return writer.get()

    def are_together(self, first: MediaURI, second: MediaURI) -> bool:
        """Whether one server with one set of credentials has both, so that it can copy between them."""
        return first.scheme == second.scheme and self._rules.of(first) is self._rules.of(second)

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

    def _checked(self, uri: MediaURI) -> MediaURI:
        """A URI that may be fetched; for a URL of a server of the settings, the URI in its store.

        Raises:
            SourceNotAllowedError: as `for_uri`.
        """
        if uri.scheme == LOCAL_SCHEME:
            # It was parsed as one because it lies below a directory of `local_roots`.
            return uri
        stored = self._urls.get().stored(uri) if uri.is_url else None
        if stored is not None:
            # Where this is not allowed, the URL is one like any other: no credentials of ours go there.
            with contextlib.suppress(SourceNotAllowedError):
                self._allowlist.check(stored)
                return stored
        self._allowlist.check(uri)
        return uri

    def _source_of(self, scheme: str, rule: CredentialRule | None) -> PerProcess[Source]:
        source = self._sources.get((scheme, rule))
        if source is None:
            made = PerProcess(lambda: self._make(scheme, rule))
            source = self._sources.setdefault((scheme, rule), made)
        return source

    def _make(self, scheme: str, rule: CredentialRule | None) -> Source:
        if scheme in _SOURCES:
            make = _SOURCES[scheme]
            return self._rules.make(rule, lambda config: make(config, self.open_transport()))
        if scheme == LOCAL_SCHEME:
            from forebay.sources.local_files import LocalFiles

            return LocalFiles()
        from forebay.sources.http import HTTPSource

        return HTTPSource(self._config, self._allowlist, self.open_transport())


def _imported(name: str) -> Callable[[MediaCacheConfig, Transport], Any]:
    """A function of this package that makes a source or writer, such as ``s3.s3_source``.

    It is imported when it is called: the packages of the clouds take 100 ms and more, and a program mostly
    needs one of them.
    """
    module, _, function = name.partition(".")

    def make(config: MediaCacheConfig, transport: Transport) -> Any:
        return getattr(importlib.import_module(f"forebay.sources.{module}"), function)(config, transport)

    return make


_SOURCES: dict[str, Callable[[MediaCacheConfig, Transport], Source]] = {
    "s3": _imported("s3.s3_source"),
    "minio": _imported("s3.minio_source"),
    "gs": _imported("gcs.gcs_source"),
    "az": _imported("azure.azure_source"),
}
_WRITERS: dict[str, Callable[[MediaCacheConfig, Transport], Writer]] = {
    "s3": _imported("s3.s3_writer"),
    "minio": _imported("s3.minio_writer"),
    "gs": _imported("gcs_writer.gcs_writer"),
    "az": _imported("azure_writer.azure_writer"),
}
