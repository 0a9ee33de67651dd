"""A directory of certificates: `ca.crt`, `ca.key`, and `<name>.crt`, `<name>.key` for everybody."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from interlock.cli.certs.authority import (
    Pair,
    is_from,
    load,
    names_of,
    new_authority,
    new_certificate,
)
from interlock.client.endpoints import SERVICES
from interlock.common.errors import InterlockError, Reason
from interlock.common.tls import CLIENT

NAMES: Final = (*SERVICES, CLIENT)
AUTHORITY: Final = "ca"
DAYS: Final = 365
_MONTH: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate of the directory says. `ours`: from the directory's authority."""

    name: str
    path: Path
    names: tuple[str, ...]
    expires: datetime
    ours: bool


def exists(directory: Path) -> bool:
    """Whether there is an authority in the directory."""
    return (directory / f"{AUTHORITY}.crt").exists() or (directory / f"{AUTHORITY}.key").exists()


def init(directory: Path, now: datetime, *, days: int, hosts: tuple[str, ...] = ()) -> list[Certificate]:
    """A new authority, and certificates for everybody. Raises INVALID_ARGUMENT where there is one already."""
    if exists(directory):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"There are certificates in {directory} already; nothing was changed.",
            field="dir",
            fix="`interlock certs renew` makes new ones with the same authority; --dir names a place for another.",
        )
    _check_hosts(hosts)
    authority = new_authority(now)
    # Made before anything is written: a bad host leaves no half of a directory.
    made = {name: new_certificate(authority, name, hosts, now, days) for name in NAMES}
    try:
        directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.mkdir(exist_ok=True, mode=0o700)
        for name, pair in {**made, AUTHORITY: authority}.items():
            _write(directory, name, pair)
    except OSError as error:
        raise _unusable(directory, error) from None
    return show(directory)


def renew(directory: Path, now: datetime, *, days: int, hosts: tuple[str, ...] = ()) -> list[Certificate]:
    """New certificates and keys by the same authority; each is for what it was for, and for `hosts`."""
    _check_hosts(hosts)
    authority = _pair(directory, AUTHORITY)
    made = {}
    for name in NAMES:
        before = directory / f"{name}.crt"
        kept = names_of(load(before.read_bytes(), str(before))) if before.exists() else ()
        made[name] = new_certificate(authority, name, (*kept, *hosts), now, days)
    try:
        for name, pair in made.items():
            _write(directory, name, pair)
    except OSError as error:
        raise _unusable(directory, error) from None
    return show(directory)


def ensure(directory: Path, now: datetime) -> None:
    """Certificates that are good for a month at least: made or renewed where there are none."""
    if not exists(directory):
        init(directory, now, days=DAYS)
    elif any(each.expires - now < _MONTH for each in show(directory) if each.name != AUTHORITY):
        renew(directory, now, days=DAYS)


def show(directory: Path) -> list[Certificate]:
    """The certificates of the directory, the authority's first. Raises INVALID_ARGUMENT where there is none."""
    try:
        authority = load((directory / f"{AUTHORITY}.crt").read_bytes(), f"{AUTHORITY}.crt")
        found = []
        for name in (AUTHORITY, *NAMES):
            path = directory / f"{name}.crt"
            if path.exists():
                cert = load(path.read_bytes(), str(path))
                ours = is_from(cert, authority)
                found.append(Certificate(name, path, names_of(cert), cert.not_valid_after_utc, ours))
    except OSError as error:
        raise _unusable(directory, error) from None
    return found


def _check_hosts(hosts: tuple[str, ...]) -> None:
    """By its name a service is known: no other one's certificate may have it as a host."""
    taken = [host for host in hosts if host.lower() in NAMES]
    if taken:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{taken[0]!r} is the name of a service, and only its own certificate is for it.",
            field="host",
            fix="Leave it out: each service's certificate has the service's name already.",
        )


def _pair(directory: Path, name: str) -> Pair:
    try:
        return Pair((directory / f"{name}.crt").read_bytes(), (directory / f"{name}.key").read_bytes())
    except OSError as error:
        raise _unusable(directory, error) from None


def _write(directory: Path, name: str, pair: Pair) -> None:
    """The key first: readers take a pair only when its halves belong together."""
    for path, content, mode in (
        (directory / f"{name}.key", pair.key, 0o600),
        (directory / f"{name}.crt", pair.cert, 0o644),
    ):
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(content)
        os.replace(partial, path)


def _unusable(directory: Path, error: OSError) -> InterlockError:
    return InterlockError(
        Reason.PERMISSION_DENIED if isinstance(error, PermissionError) else Reason.INVALID_ARGUMENT,
        f"The certificates in {directory} cannot be used: {error.strerror}.",
        field="dir",
        fix="`interlock certs init` makes them; --dir names their directory.",
    )
