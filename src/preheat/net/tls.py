"""A certificate of one's own for this machine's names, made once and kept with the data."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

_VALID_DAYS = 825
"""The longest that Apple's platforms accept (support.apple.com/103769)."""
_RENEW_DAYS = 30


def context(directory: Path, host: str, region: str) -> ssl.SSLContext:
    """TLS 1.2 and later with `directory/certificate.pem`, which clients may trust as it is."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    if not _usable(certificate, key, host, region):
        _make(certificate, key, host, region)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificate, key)
    return made


def _names(host: str, region: str) -> list[str]:
    """Wildcards stand for one label: a domain that answers for APIs or function URLs has its own."""
    names = ["localhost", "*.localhost", "*.execute-api.localhost", f"*.execute-api.{region}.localhost"]
    names += [f"*.lambda-url.{region}.localhost", "127.0.0.1", "::1"]
    return names if host in names or host in ("0.0.0.0", "::") else [*names, host]


def _usable(certificate: Path, key: Path, host: str, region: str) -> bool:
    if not certificate.is_file() or not key.is_file():
        return False
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except ValueError:
        return False
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left.days > _RENEW_DAYS and set(names) >= set(_general_names(host, region))


def _general_names(host: str, region: str) -> list[object]:
    from cryptography import x509

    names: list[object] = []
    for name in _names(host, region):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    return names


def _make(certificate: Path, key: Path, host: str, region: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preheat on this machine")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(_general_names(host, region)), critical=False)  # type: ignore[arg-type]
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.parent.mkdir(parents=True, exist_ok=True)
    private = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
