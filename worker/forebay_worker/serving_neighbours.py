"""A worker's part in a group: it serves its volume, and says again and again that it does."""

from __future__ import annotations

import contextlib
import logging
import secrets
import ssl
import threading

from forebay.cache import MediaCache
from forebay.errors import ConfigError, ForebayError
from forebay.index.groups import LIVES_SECONDS, Groups, Server
from forebay.volume.heartbeat import Heartbeat
from forebay_worker.neighbour_server import NeighbourServer

log = logging.getLogger(__name__)


class ServingNeighbours:
    """The server of this worker, and its registration.

    Args:
        cache: the worker's cache, whose settings name a group.

    Raises:
        ConfigError: the address, or the certificate, cannot be used.
        IndexUnavailableError: Redis does not answer.
    """

    def __init__(self, cache: MediaCache) -> None:
        config = cache.config
        assert config.group is not None
        host, _, port = config.group_address.rpartition(":")
        if not host or config.group_address.endswith("]"):
            host, port = config.group_address, "0"
        tls = _context(config.group_tls_cert, config.group_tls_key)
        self._groups = Groups(cache.engine.open_index().connection, config.group)
        try:
            self._server = NeighbourServer(cache, host.strip("[]"), int(port), self._groups.key(), tls)
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"the group cannot be served at {config.group_address} ({error}): set "
                "FIFTYONE_MEDIA_CACHE_GROUP_ADDRESS to an address of this machine and, unless it is to be "
                "any, to a free port",
                setting="group_address",
            ) from None
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://{host}:{self._server.server_address[1]}"
        self.server = Server(secrets.token_hex(8), config.volume, url)
        self._heartbeat = Heartbeat(
            "forebay-neighbours", LIVES_SECONDS / 4, (self._announce,), "announcing this volume to its group"
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="forebay-neighbours-server", daemon=True
        )

    def start(self) -> None:
        """Begins to serve."""
        self._thread.start()
        with contextlib.suppress(ForebayError):
            # A user who has been told that this worker is ready finds it.
            self._announce()
        self._heartbeat.start(at_once=True)
        log.info("serving the group at %s", self.server.url)

    def stop(self) -> None:
        """Ends it; what is being sent is sent to its end while this process lives."""
        self._heartbeat.stop()
        with contextlib.suppress(ForebayError):
            self._groups.retire(self.server)
        self._server.shutdown()
        self._server.server_close()

    def _announce(self) -> None:
        # A Redis that was emptied has another one.
        self._server.secret = self._groups.key().encode()
        self._groups.announce(self.server)


def serve(cache: MediaCache) -> ServingNeighbours | None:
    """Serves the group of the settings, if they name one; a worker that cannot works without."""
    if cache.config.group is None:
        return None
    try:
        serving = ServingNeighbours(cache)
    except ForebayError as error:
        log.error("%s; this worker serves no neighbours", error)
        return None
    serving.start()
    return serving


def _context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"group_tls_cert={certificate!r} cannot be used ({error}): it must be a certificate in PEM, and "
            "group_tls_key its key, unless that is in the same file",
            setting="group_tls_cert",
        ) from None
    return context
