"""Binding a server's address, and telling whoever started the process where it listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from interlock.common.addresses import Address
from interlock.common.errors import InterlockError, Reason


def bind(server: Any, address: Address, credentials: grpc.ServerCredentials | None = None) -> Address:
    """Open the port or socket. Returns the address with the port that was chosen.

    A unix socket is made for its owner alone (0600); one that a dead process left behind is replaced, one that
    something listens on is refused. Raises UNAVAILABLE when the address is taken or cannot be bound.
    """
    if address.is_unix:
        return _bind_unix(server, address)
    try:
        if credentials is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), credentials)
    except RuntimeError:
        raise _taken(address) from None
    if port == 0:
        raise _taken(address)
    return address.with_port(port)


def announce(
    address: Address,
    ready_file: Path | None,
    ready_fd: int | None,
    on_ready: Callable[[Address], None] | None,
) -> None:
    """Publish the bound address as one line, in each of the ways that were asked for.

    Raises INVALID_ARGUMENT when the file or descriptor cannot be written.
    """
    line = f"{address}\n"
    if ready_file is not None:
        with _writing("--ready-file"):
            temporary = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
            temporary.write_text(line)
            temporary.replace(ready_file)
    if ready_fd is not None:
        with _writing("--ready-fd"), os.fdopen(ready_fd, "w") as file:
            file.write(line)
    if on_ready is not None:
        on_ready(address)


@contextmanager
def _writing(option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"Cannot write what {option} names: {error.strerror}.", field=option
        ) from None


def withdraw(ready_file: Path | None) -> None:
    """Remove the ready file: nothing listens any more."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


def _bind_unix(server: Any, address: Address) -> Address:
    path = Path(address.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _is_listened_on(path):
        raise _taken(address)
    # The socket must never exist with wider permissions, not even for an instant.
    before = os.umask(0o177)
    try:
        bound = server.add_insecure_port(str(address))
    except RuntimeError:
        raise _taken(address) from None
    finally:
        os.umask(before)
    if not bound:
        raise _taken(address)
    return address


def _is_listened_on(path: Path) -> bool:
    if not path.is_socket():
        if path.exists():
            raise InterlockError(
                Reason.INVALID_ARGUMENT, f"{path} exists and is not a socket.", field="address"
            )
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _taken(address: Address) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"Cannot listen on {address}.",
        field="address",
        fix="Stop what listens there (`ss -ltnp` shows it), or configure another address.",
    )
