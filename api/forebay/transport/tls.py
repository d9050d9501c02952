"""Whom a TLS connection trusts: what boto3 and requests would trust on this machine.

This is the one place that reads the environment for it. libcurl's own reading is not used: it knows
neither AWS_CA_BUNDLE nor REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import importlib.util
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.errors import ConfigError
from forebay.uri import shown

#: In the order in which they count. The first two are boto3's, the next two are those of requests and
#: curl, the last two those of OpenSSL.
VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Of a certificate, and of one with its trust, as OpenSSL writes both.
_BEGINNING = b"CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class TLS:
    """The trust of a TLS connection, and the certificate that it shows.

    Attributes:
        bundle: a file of certificates to trust, in PEM: authorities, or the server's own.
        directory: a directory of them, prepared by ``openssl rehash``.
        verify: false trusts every server.
        certificate: the client's certificate, in PEM; its key may be in the same file.
        key: the client's key.
    """

    bundle: str | None = None
    directory: str | None = None
    verify: bool = True
    certificate: str | None = None
    key: str | None = None


def tls_from(
    environment: Mapping[str, str], *, verify: bool | str | None = None, cert: Any = None, setting: str = ""
) -> TLS:
    """Finds whom to trust, by settings that boto3 and requests know, and by the environment.

    Args:
        verify: ``False`` trusts everybody; a path names what to trust; ``True`` or ``None`` leave it to
            the environment.
        cert: the path of the client's certificate, or a pair with that of its key.
        setting: the name of the setting that ``verify`` and ``cert`` come from, for messages.

    Raises:
        ConfigError: a file or directory does not exist; names the setting or variable.
    """
    setting = setting or "setting verify"
    certificate, key = _client(cert, setting)
    if verify is False:
        return TLS(verify=False, certificate=certificate, key=key)
    if isinstance(verify, (str, os.PathLike)) and str(verify):
        bundle, directory = _place(str(verify), setting)
        return TLS(bundle, directory, certificate=certificate, key=key)
    for variable in VARIABLES:
        if path := environment.get(variable, ""):
            bundle, directory = _place(path, f"environment variable {variable}")
            return TLS(bundle, directory, certificate=certificate, key=key)
    return TLS(_default(), certificate=certificate, key=key)


def _place(path: str, where: str) -> tuple[str | None, str | None]:
    expanded = os.path.expanduser(path.strip() or path)
    if os.path.isdir(expanded):
        return None, expanded
    _check_bundle(_file(expanded, where), where)
    return expanded, None


def _check_bundle(path: str, where: str) -> None:
    try:
        with open(path, "rb") as file:
            found = any(_BEGINNING in line for line in file)
    except OSError:
        found = False
    if not found:
        raise ConfigError(
            f"{where}: the file {shown(path)} holds no certificate in PEM; name one that does, or unset it"
        )


def _file(path: str, where: str) -> str:
    if not os.path.isfile(path):
        raise ConfigError(
            f"{where}: there is no file {shown(path)}; name one with certificates in PEM, or unset it"
        )
    if not os.access(path, os.R_OK):
        raise ConfigError(
            f"{where}: the file {shown(path)} may not be read; change its permissions, or unset it"
        )
    return path


def _client(cert: Any, setting: str) -> tuple[str | None, str | None]:
    if cert is None:
        return None, None
    parts = [cert] if isinstance(cert, (str, os.PathLike)) else cert
    if not isinstance(parts, (list, tuple)) or not 1 <= len(parts) <= 2:
        raise ConfigError(f"{setting}: a client certificate is a path, or a pair of paths")
    paths = [_file(os.path.expanduser(str(part)), setting) for part in parts]
    return paths[0], paths[1] if len(paths) == 2 else None


def _default() -> str | None:
    """certifi's authorities, as with requests; the system's where it is not installed."""
    # Found without importing it, because imports of another thread must not be under way at a fork.
    found = importlib.util.find_spec("certifi")
    for place in found.submodule_search_locations or () if found else ():
        path = os.path.join(place, "cacert.pem")
        if os.path.isfile(path):
            return path
    return ssl.get_default_verify_paths().cafile
