"""The files that a step in a container is given: put into a file system in memory that the container mounted.

The first process of the container is there, its command is not: whoever looks at these names are this process and
the kernel. They are written below /proc/<first process>/root; what the runtime is told, and keeps on disk, holds
none. Then the whole file system becomes read-only (fspick(2), fsconfig(2)), and with the container it is gone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from interlock.executor.sandbox.identity import Identity

PLACE: Final = "/run"
"""Where the container mounts it, in place of whatever the system has there."""

# The numbers of these calls are the same on every machine (include/uapi/asm-generic/unistd.h), as the flags are.
_FSCONFIG, _FSPICK = 431, 433
_FSPICK_CLOEXEC, _FSPICK_EMPTY_PATH = 0x1, 0x8
_FSCONFIG_SET_FLAG, _FSCONFIG_CMD_RECONFIGURE = 0, 7
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def give_files(pid: int, files: Mapping[str, bytes], identity: Identity) -> None:
    """Make `files` (content by path below `PLACE`) in the container of `pid`, mode 0400, of the step's uid.

    Raises OSError: also where there is no file system of the container's own at `PLACE`; then nothing is written.
    """
    with ExitStack() as stack:
        place = os.open(f"/proc/{pid}/root{PLACE}", _DIRECTORY)
        stack.callback(os.close, place)
        # Fails for anything that is not the root of a mounted file system.
        picked = _call(_FSPICK, place, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH)
        stack.callback(os.close, picked)
        with _acting_as(identity):
            for path, content in files.items():
                _write(place, path.removeprefix(f"{PLACE}/"), content)
        _call(_FSCONFIG, picked, _FSCONFIG_SET_FLAG, b"ro", None, 0)
        _call(_FSCONFIG, picked, _FSCONFIG_CMD_RECONFIGURE, None, None, 0)


@contextmanager
def _acting_as(identity: Identity) -> Iterator[None]:
    """What this thread makes is that user's. Root cannot make files there: the container has no number for it."""
    libc = ctypes.CDLL(None)
    uid, gid = libc.setfsuid(-1), libc.setfsgid(-1)
    try:
        libc.setfsgid(identity.gid)
        libc.setfsuid(identity.uid)
        yield
    finally:
        libc.setfsuid(uid)
        libc.setfsgid(gid)


def _write(place: int, path: str, content: bytes) -> None:
    *parents, name = path.split("/")
    with ExitStack() as stack:
        at = place
        for parent in parents:
            at = _directory(at, parent)
            stack.callback(os.close, at)
        fd = os.open(name, _NEW, 0o400, dir_fd=at)
        with open(fd, "wb") as file:
            file.write(content)


def _directory(at: int, name: str) -> int:
    """A descriptor of a directory, made if it is not there."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=at)
    return os.open(name, _DIRECTORY, dir_fd=at)


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    found = int(libc.syscall(ctypes.c_long(number), *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
