"""TLS between services, with certificates on both sides: who connects is a program of this installation.

`INTERLOCK_TLS_CERT`, `_KEY` and `_CA` name the process's own certificate, its key, and the authority that everybody's
certificate is from (PEM files). Whom a certificate is for is told by its names (subjectAltName, DNS): `orchestrator`,
`executor`, … for services, `client` for people's programs. Who the person is, the bearer token says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock.common.addresses import Address
from interlock.common.config import env_bool, env_path, env_text
from interlock.common.errors import InterlockError, Reason

if TYPE_CHECKING:
    import grpc

CERT, KEY, CA = "INTERLOCK_TLS_CERT", "INTERLOCK_TLS_KEY", "INTERLOCK_TLS_CA"
CLIENT: Final = "client"
"""The name in the certificates of people's programs."""

CLEAR: Final = "INTERLOCK_ALLOW_CLEARTEXT"
TRUSTED: Final = frozenset({"orchestrator", "executor", "planner", "approval"})
"""Names whose holders are services: what they ask of one another, and whom they speak for, is taken from them only."""

_MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the certificate, its key and the authority's certificate are."""

    cert: Path
    key: Path
    ca: Path

    @classmethod
    def within(cls, directory: Path, name: str) -> TlsFiles:
        """Somebody's in a directory that `interlock certs init` has made."""
        return cls(directory / f"{name}.crt", directory / f"{name}.key", directory / "ca.crt")

    def environment(self) -> dict[str, str]:
        """The variables that name them."""
        return {CERT: str(self.cert), KEY: str(self.key), CA: str(self.ca)}

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, key, authority. Raises INVALID_ARGUMENT naming the variable; PERMISSION_DENIED for a key that
        other users can read."""
        return _read(self.cert, CERT), _read(self.key, KEY, secret=True), _read(self.ca, CA)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """What changes when one of the files does."""
        found = [path.stat() for path in (self.cert, self.key, self.ca)]
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)


def from_env(env: Mapping[str, str] | None = None) -> TlsFiles | None:
    """The process's files; None where none is named. Raises INVALID_ARGUMENT when one of the three is missing."""
    named = {name: env_text(name, env=env) for name in (CERT, KEY, CA)}
    if not any(named.values()):
        return None
    for name, text in named.items():
        if not text:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{name} is not set, and the others of INTERLOCK_TLS_* are.",
                field=name,
                fix="Set all three, or none; `interlock certs init` makes them.",
            )
    return TlsFiles(*(env_path(name, Path("/"), env) for name in (CERT, KEY, CA)))


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """For a port that takes certificates of the authority only. New files are used for the next connection, without a
    restart; while they cannot be read the ones before stay."""
    import grpc

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files),
        _Renewing(files).next,  # type: ignore[arg-type]  # None keeps the one before; the stubs do not know
        require_client_authentication=True,
    )


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """For a channel, with the files as they are now."""
    import grpc

    cert, key, ca = files.read()
    return grpc.ssl_channel_credentials(ca, key, cert)


def target(service: str) -> tuple[tuple[str, str], ...]:
    """The channel option that asks the other side for this service's certificate, wherever it listens."""
    return (("grpc.ssl_target_name_override", service),) if service else ()


def peer_names(context: Any) -> frozenset[str]:
    """The names in the certificate of whoever made this connection; none without one."""
    found = context.auth_context().get("x509_subject_alternative_name") or ()
    return frozenset(name.decode("utf-8", "replace") for name in found)


def check_clear(address: Address, secure: bool, field: str = "address") -> None:
    """Raises INVALID_ARGUMENT for a port without TLS that other machines can reach, unless that was asked for."""
    if secure or address.is_local:
        return
    if env_bool(CLEAR, False):
        _log().warning("listening without TLS: everybody on the way can read tokens", address=str(address))
        return
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{address} can be reached from other machines, and there is no TLS: tokens would travel in the clear.",
        field=field,
        fix=f"Set INTERLOCK_TLS_* (docs/access.md), listen on 127.0.0.1, or set {CLEAR}=true on a trusted network.",
    )


class _Renewing:
    """Gives gRPC the files again when they have changed. Called by its threads, at each new connection."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp()

    def next(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration; None = the one before."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            found = _configuration(self._files)
        except (OSError, InterlockError) as error:
            _log().warning("the new certificate cannot be used", why=str(error))
            return None
        self._stamp = stamp
        _log().info("using a new certificate", cert=str(self._files.cert))
        return found


def _log() -> Any:
    from interlock.common import logs

    return logs.get("tls")


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    import grpc

    cert, key, ca = files.read()
    _check_pair(cert, key, ca)
    return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca)


def _check_pair(cert: bytes, key: bytes, ca: bytes) -> None:
    """Half-written or mixed-up files would take the port down at the next connection."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        x509.load_pem_x509_certificates(ca)
        first = x509.load_pem_x509_certificates(cert)[0]
        same = first.public_key() == load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError):
        raise _bad(
            CERT, "The certificate, its key or the authority is no PEM file that can be read."
        ) from None
    if not same:
        raise _bad(KEY, "The key is not the one that the certificate is for.")


def _read(path: Path, name: str, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _bad(name, f"{path} cannot be read: {os.strerror(error.errno or 0)}.") from None
    if secret and stat.S_IMODE(mode) & 0o077:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"Other users can read {path}.",
            field=name,
            fix=f"Run `chmod 600 {path}`.",
        )
    if not found or len(found) > _MOST_BYTES:
        raise _bad(name, f"{path} is empty or too large.")
    return found


def _bad(name: str, message: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        message,
        field=name,
        fix="`interlock certs init` makes certificates that fit.",
    )
