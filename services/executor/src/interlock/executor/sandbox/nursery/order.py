"""What is to be started: written by the executor to a file in memory, read by the new process and by nobody else."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """One process. It leads a process group, has an empty environment, and starts in `/` with umask 022.

    Args:
        parent: the process that it is a child of; it does not go on as anybody else's.
        argv: the program's arguments; with `supervise`, the name to go by.
        program: path of what to execute.
        supervise: number of the descriptor of a plan: be the supervisor of that step, and execute nothing.
        bound: number of the descriptor of a user namespace: bound what is counted for it (`counts`), and end.
        uid, gid: whom to become, where `switch`.
        joins: numbers of descriptors, open files of control groups that it enters before anything else.
    """

    parent: int
    argv: tuple[str, ...]
    program: str = ""
    supervise: int = -1
    bound: int = -1
    uid: int = 0
    gid: int = 0
    switch: bool = False
    joins: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def read(cls, fd: int) -> Order:
        """From a descriptor, which is closed."""
        with os.fdopen(fd, "rb") as file:
            fields = json.loads(file.read())
        fields["argv"], fields["joins"] = tuple(fields["argv"]), tuple(fields["joins"])
        return cls(**fields)


def join(entrances: tuple[int, ...]) -> None:
    """Enter control groups by their open files, and close these. Raises OSError.

    A thread that moves itself does so at once; to move another process the kernel waits some 10 ms for all processors.
    """
    for fd in entrances:
        os.write(fd, b"0")
        os.close(fd)
