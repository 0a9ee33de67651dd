"""Certificates for TLS between services (X.509, RFC 5280): made, renewed, and read.

P-256 keys, because every TLS library takes them. A service's certificate is for its name, for loopback and for the
hosts that were asked for, and may be used on both sides of a connection; the client's on its own side only.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from interlock.common.errors import InterlockError, Reason
from interlock.common.tls import CLIENT

AUTHORITY_DAYS: Final = 3650
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_EARLIER: Final = timedelta(minutes=5)  # other machines' clocks may be behind

Key = ec.EllipticCurvePrivateKey


class Pair(NamedTuple):
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes


def new_authority(now: datetime) -> Pair:
    """An authority of its own, for AUTHORITY_DAYS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Interlock development authority")
    usage = _usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
    made = (
        _begun(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(made, key)


def new_certificate(authority: Pair, name: str, hosts: tuple[str, ...], now: datetime, days: int) -> Pair:
    """A certificate for a service, or for CLIENT. Raises INVALID_ARGUMENT when the authority cannot be used."""
    issuer, issuer_key = _read(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    names = (name,) if name == CLIENT else tuple(dict.fromkeys((name, *_LOOPBACK, *hosts)))
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name != CLIENT:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    made = (
        _begun(_name(f"interlock {name}"), issuer.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_host(each) for each in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(issuer_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _pair(made, key)


def load(pem: bytes, what: str) -> x509.Certificate:
    """A certificate. Raises INVALID_ARGUMENT naming the file."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"{what} is no certificate that can be read.", field="dir"
        ) from None


def names_of(cert: x509.Certificate) -> tuple[str, ...]:
    """What the certificate is for."""
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *found.get_values_for_type(x509.DNSName),
        *(str(each) for each in found.get_values_for_type(x509.IPAddress)),
    )


def is_from(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority signed it."""
    from cryptography.exceptions import InvalidSignature

    try:
        cert.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _begun(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"{text[:80]!r} is neither a host name nor an address.", field="host"
        ) from None


def _read(pair: Pair) -> tuple[x509.Certificate, Key]:
    cert = load(pair.cert, "The authority's certificate")
    try:
        key = load_pem_private_key(pair.key, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != cert.public_key():
        raise InterlockError(
            Reason.INVALID_ARGUMENT, "The authority's key is not the one of its certificate.", field="dir"
        )
    return cert, key


def _pair(cert: x509.Certificate, key: Key) -> Pair:
    return Pair(
        cert.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
