"""The ways of the transport to a server: TLS, proxies, HTTP/2."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.transport import (
    BytesSink,
    Kind,
    Request,
    Route,
    Transport,
    TransportError,
)
from forebay.transport.proxies import proxies_from
from forebay.transport.tls import TLS, VARIABLES, tls_from
from tests.integration.exchanges import Gathering
from tests.servers import nginx
from tests.servers.http_server import HTTPServer
from tests.servers.process import free_ports, running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in the same file."""
    directory = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_bytes((directory / "cert.pem").read_bytes() + (directory / "key.pem").read_bytes())
    return both


@contextlib.contextmanager
def tls_server(certificate: Path, *, clients: bool = False) -> Iterator[str]:
    """Answers every request with "secure"; gives its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure")

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class TestTLS:
    @pytest.fixture(autouse=True)
    def no_bundles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in VARIABLES:
            monkeypatch.delenv(variable, raising=False)

    def test_an_unknown_server_is_refused_with_a_remedy(self, transport: Transport, certificate: Path):
        with tls_server(certificate) as url, pytest.raises(TransportError, match="AWS_CA_BUNDLE") as failure:
            transport.call(Request(url, route=Route(tls=tls_from(os.environ))))

        assert failure.value.kind is Kind.TLS
        assert not failure.value.transient

    @pytest.mark.parametrize("variable", VARIABLES[:-1])
    def test_a_bundle_may_be_the_servers_own_certificate(
        self, transport: Transport, certificate: Path, variable: str
    ):
        route = Route(tls=tls_from({variable: str(certificate)}))
        with tls_server(certificate) as url:
            assert transport.call(Request(url, route=route)).body == b"secure"

    def test_a_bundle_is_all_that_is_trusted(
        self, transport: Transport, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ):
        # libcurl and OpenSSL do not read the environment behind our back.
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with tls_server(certificate) as url, pytest.raises(TransportError):
            transport.call(Request(url, route=Route(tls=tls_from({}))))

    def test_verification_can_be_switched_off(self, transport: Transport, certificate: Path):
        with tls_server(certificate) as url:
            assert transport.call(Request(url, route=Route(tls=TLS(verify=False)))).body == b"secure"
            # And that is good for this route only, not for connections that it has left.
            with pytest.raises(TransportError):
                transport.call(Request(url, route=Route(tls=tls_from({}))))

    def test_a_client_shows_its_certificate(self, transport: Transport, certificate: Path):
        with tls_server(certificate, clients=True) as url:
            tls = tls_from({}, verify=str(certificate), cert=str(certificate))

            assert transport.call(Request(url, route=Route(tls=tls))).body == b"secure"
            with pytest.raises(TransportError):
                transport.call(Request(url, route=Route(tls=TLS(str(certificate)))))


class TestProxies:
    def test_lead_to_the_server(self, transport: Transport, http_server: HTTPServer):
        # A proxy for http:// is asked for whole URLs; any web server will do.
        http_server.put("http://elsewhere.invalid/x", b"by proxy")
        proxy = proxies_from({"http_proxy": http_server.endpoint}).for_url("http://elsewhere.invalid/x")

        response = transport.call(Request("http://elsewhere.invalid/x", route=Route(proxy=proxy)))

        assert response.body == b"by proxy"

    @pytest.mark.parametrize("kind", ["http", "https", "socks4", "socks4a", "socks5", "socks5h"])
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_that_are_dead_are_named(self, transport: Transport, kind: str, scheme: str):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        url = f"{scheme}://127.0.0.1/x?secret"
        proxy = proxies_from({"ALL_PROXY": f"{kind}://user:hidden@127.0.0.1:{port}"}).for_url(url)

        with pytest.raises(TransportError) as failure:
            transport.call(Request(url, route=Route(proxy=proxy)))

        assert failure.value.kind is Kind.PROXY
        assert f"the proxy {kind}://127.0.0.1:{port} cannot be reached" in str(failure.value)
        assert "hidden" not in str(failure.value)

    def test_that_refuse_are_named(self, transport: Transport, http_server: HTTPServer):
        url = "https://elsewhere.invalid/x"
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url(url)

        with pytest.raises(TransportError, match=r"the proxy http://127\.0\.0\.1:\d+ .* \(it answers \d+\)"):
            transport.call(Request(url, route=Route(proxy=proxy)))

    def test_that_want_a_password_are_named(self, transport: Transport, http_server: HTTPServer):
        url = "http://elsewhere.invalid/x"
        http_server.put(url, b"who are you?", status=407)
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url(url)

        with pytest.raises(TransportError, match=r"the proxy http://127\.0\.0\.1:\d+ .* \(it answers 407\)"):
            transport.call(Request(url, route=Route(proxy=proxy)))

    def test_of_the_environment_are_not_used_behind_our_back(
        self, transport: Transport, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        for variable in ("http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")

        assert transport.call(Request(http_server.put("/x", b"direct"))).body == b"direct"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::1]"])
    def test_are_not_asked_for_private_addresses(
        self, transport: Transport, http_server: HTTPServer, host: str
    ):
        proxy = proxies_from({"ALL_PROXY": http_server.endpoint}).for_url("http://x")
        route = Route(proxy=proxy, guard=lambda address: address not in ("127.0.0.1", "::1"))

        with pytest.raises(TransportError) as failure:
            transport.call(Request(f"http://{host}/x", route=route))

        assert failure.value.kind is Kind.REFUSED_ADDRESS
        assert not http_server.requests


@pytest.mark.skipif(nginx.find() is None, reason="nginx is not installed")
def test_http_2(transport: Transport, certificate: Path, tmp_path: Path):
    # Given a server of HTTP/2
    (port,) = free_ports()
    (tmp_path / "x").write_bytes(b"body" * 50_000)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; user {getpass.getuser()}; error_log stderr; pid {tmp_path}/pid; events {{ }}\n"
        f"http {{ access_log off; {nginx.temporary_paths(tmp_path)}\n"
        f"server {{ listen 127.0.0.1:{port} ssl http2; root {tmp_path};\n"
        f"ssl_certificate {certificate}; ssl_certificate_key {certificate}; }} }}\n"
    )
    route = Route(tls=TLS(str(certificate)), http2=True)
    url = f"https://127.0.0.1:{port}/x"

    def serves() -> bool:
        with socket.create_connection(("127.0.0.1", port)):
            return True

    command = [nginx.find() or "", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", "stderr"]
    with running(command, log=tmp_path / "log", ready=serves):
        # When many requests are sent at a time
        gathering = Gathering(100)
        for number in range(100):
            target = url if number % 10 else url + "-missing"
            transport.submit(Request(target, route=route), BytesSink(1_000_000), gathering)
        errors = gathering.wait()

    # Then all are answered over HTTP/2
    assert len(errors) == 10
    heads = [one.outcome.head for one in gathering.ended if one.outcome]
    assert {(one.status, one.version) for one in heads if one} == {(200, "2"), (404, "2")}
