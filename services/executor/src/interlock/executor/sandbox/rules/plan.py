"""What the supervisor is told: written by the executor, read by the supervisor from a descriptor."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """One step.

    Args:
        argv, env: what to execute; the program is looked for along env's PATH.
        workspace: the fork; the command starts in `working_dir` below it.
        scratch: the directory in place of /tmp.
        rules: path and access (`kernel.READ`, ...) of everything it may reach.
        filter: the system call filter, base64.
        uid, gid: whom to run as; `switch`: the supervisor starts as root and changes to them.
        gate, status: descriptors: to be let run or to be ended by; to report on.
        joins: descriptors of control groups that the command enters.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    workspace: str
    working_dir: str
    scratch: str
    rules: tuple[tuple[str, int], ...]
    filter: str
    uid: int
    gid: int
    switch: bool
    gate: int
    status: int
    joins: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def read(cls, fd: int) -> Plan:
        """From a descriptor, which is closed."""
        with os.fdopen(fd, "rb") as file:
            fields = json.loads(file.read())
        fields["argv"], fields["joins"] = tuple(fields["argv"]), tuple(fields["joins"])
        fields["rules"] = tuple((path, access) for path, access in fields["rules"])
        return cls(**fields)

    def program(self) -> bytes:
        """The filter's bytes."""
        return base64.b64decode(self.filter)
