"""Certificates for servers on 127.0.0.1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed(path: Path, *hosts: str) -> str:
    """Writes a key and a certificate that nobody vouches for; gives the file's path.

    Args:
        hosts: further names that the server goes by.
    """
    names = [x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, hosts)]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forebay test")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(pem))
    return str(path)


@dataclass(frozen=True)
class Authority:
    """Signs certificates of servers on 127.0.0.1 and of their clients.

    Attributes:
        certificate: the file of its own certificate.
    """

    certificate: str
    _directory: Path
    _key: ec.EllipticCurvePrivateKey
    _name: x509.Name

    def signed(self, name: str) -> tuple[str, str]:
        """A certificate that it vouches for, and its key, each in a file."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _begun(name)
            .public_key(key.public_key())
            .issuer_name(self._name)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        files = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(_PEM))
        files[1].write_bytes(key.private_bytes(_PEM, _PKCS8, serialization.NoEncryption()))
        return str(files[0]), str(files[1])


_PEM = serialization.Encoding.PEM
_PKCS8 = serialization.PrivateFormat.PKCS8


def authority(directory: Path, name: str = "forebay test authority") -> Authority:
    """A new one, whose files lie in a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        _begun(name)
        .public_key(key.public_key())
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "authority.crt"
    path.write_bytes(certificate.public_bytes(_PEM))
    return Authority(str(path), directory, key, subject)


def _begun(name: str) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
