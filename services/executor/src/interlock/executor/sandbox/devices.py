"""The machine's device nodes that steps and runners use, and one that a runtime may do what it likes with.

A runtime that root runs can give its standard streams to a container's user: crun does (fchown of 0, 1 and 2), and
from `/dev/null` as one of them the machine's /dev/null would become a step's own, to close to everybody.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason

NODES: Final[Mapping[str, tuple[int, int]]] = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
}
"""Major and minor number by path (Documentation/admin-guide/devices.txt of Linux)."""
_OPEN: Final = 0o666


def faults(step_uid: int, nodes: Mapping[str, tuple[int, int]] = NODES) -> list[str]:
    """What is wrong with each, in words; empty when nothing is. `step_uid`: whoever must not own them."""
    found = []
    for path, number in nodes.items():
        try:
            fault = _fault(os.stat(path), number, step_uid)
        except OSError as error:
            fault = error.strerror or "cannot be looked at"
        if fault:
            found.append(f"{path}: {fault}")
    return found


def _fault(node: os.stat_result, number: tuple[int, int], step_uid: int) -> str:
    if not stat.S_ISCHR(node.st_mode) or (os.major(node.st_rdev), os.minor(node.st_rdev)) != number:
        return f"it is not the character device {number[0]}:{number[1]}"
    if node.st_mode & _OPEN != _OPEN:
        return f"its mode is {stat.S_IMODE(node.st_mode):04o}, not 0666"
    return "it belongs to the uid of steps, which could close it" if node.st_uid == step_uid else ""


def require_devices(step_uid: int, nodes: Mapping[str, tuple[int, int]] = NODES) -> None:
    """Raises InterlockError(SANDBOX_UNAVAILABLE) naming what is wrong."""
    if not (found := faults(step_uid, nodes)):
        return
    path = found[0].partition(":")[0]
    major, minor = nodes[path]
    raise InterlockError(
        Reason.SANDBOX_UNAVAILABLE,
        f"The machine's devices are not what they must be: {'; '.join(found)}.",
        field=path,
        fix=f"As root: rm -f {path} && mknod -m 666 {path} c {major} {minor}, and find out what changed it.",
    )


def open_null(directory: Path) -> int:
    """A null device that is nobody else's, to read from; where none can be made or used, a pipe without a writer.

    Some programs look elsewhere for their input when their standard input is a pipe, so a device is better.
    """
    path = directory / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*NODES["/dev/null"]))
        path.chmod(_OPEN)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        read, write = os.pipe()
        os.close(write)
        return read
