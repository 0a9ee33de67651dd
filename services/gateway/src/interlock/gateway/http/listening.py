"""The gateway's listening socket."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from interlock.common.addresses import Address
from interlock.common.errors import InterlockError, Reason


def bind(address: Address) -> tuple[socket.socket, Address]:
    """A bound socket, and its address with the port that was chosen.

    A unix socket is made for its owner alone. Raises UNAVAILABLE when the address is taken or cannot be bound.
    """
    if address.is_unix:
        return _unix(address), address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address.host, address.port))
    except OSError:
        made.close()
        raise _taken(address) from None
    return made, address.with_port(made.getsockname()[1])


def _unix(address: Address) -> socket.socket:
    path = Path(address.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_socket() and not _is_listened_on(path):
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise _taken(address) from None
    finally:
        os.umask(before)
    return made


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        with contextlib.suppress(OSError):
            probe.connect(str(path))
            return True
    return False


def _taken(address: Address) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Cannot listen on {address}.",
        field="INTERLOCK_GATEWAY_ADDRESS",
        fix="Stop what listens there (`ss -ltnp` shows it), or configure another address.",
    )
