"""A listening socket in a step's network namespace, made by a forked helper that enters it and ends.

The namespace belongs to a user namespace. Where the step's uid made that, the uid may enter both; where root did (OCI
runtimes), root enters the network namespace alone. Nothing else of the step is entered. The socket comes back by
SCM_RIGHTS.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
from contextlib import suppress
from typing import Final

_NS_GET_USERNS: Final = 0xB701
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_IP_FREEBIND: Final = 15
_BACKLOG: Final = 128


def listen_inside(namespace: int, port: int) -> socket.socket:
    """Listens on 127.0.0.1 in the network namespace that `namespace` is a descriptor of.

    The calling process must have one thread. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        child = os.fork()
        if child == 0:
            _helper(theirs, namespace, port)
        theirs.close()
        try:
            said, fds, _, _ = socket.recv_fds(ours, 16, 1)
        finally:
            os.waitpid(child, 0)
    if fds:
        return socket.socket(fileno=fds[0])
    number = int(said or b"0")
    raise OSError(number, os.strerror(number) if number else "the helper ended without a word")


def _helper(answer: socket.socket, namespace: int, port: int) -> None:
    code = 1
    with suppress(BaseException):
        try:
            enter(namespace)
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            # The interface may not be up yet; it is when the command runs.
            listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(_BACKLOG)
            socket.send_fds(answer, [b"ok"], [listener.fileno()])
            code = 0
        except OSError as error:
            answer.send(str(error.errno or 0).encode())
    os._exit(code)


def enter(namespace: int) -> None:
    """Enter a network namespace, unless by root through the user namespace that owns it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    wanted = [(namespace, _CLONE_NEWNET)]
    if os.geteuid() != 0:
        wanted.insert(0, (fcntl.ioctl(namespace, _NS_GET_USERNS), _CLONE_NEWUSER))
    for fd, kind in wanted:
        if libc.setns(fd, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
