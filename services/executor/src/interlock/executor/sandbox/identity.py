"""Which user everything that a step touches belongs to.

A runner started by the real root is escapable whatever capabilities it drops: inside, uid 1000 would be root outside,
who owns /proc/sys. So as root the executor runs steps as a uid of their own, and refuses to use 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from interlock.common.config import env_int
from interlock.common.errors import InterlockError, Reason

DEFAULT_STEP_UID = 64_123
_CAP_SETGID, _CAP_SETUID = 6, 7


@dataclass(frozen=True, slots=True)
class Identity:
    """The uid and gid of steps. `switch`: the executor is root and has to change to them."""

    uid: int
    gid: int
    switch: bool


def step_identity(env: Mapping[str, str] | None = None) -> Identity:
    """INTERLOCK_STEP_UID when run by root, else the executor's own user.

    Raises InterlockError(SANDBOX_UNAVAILABLE) when steps would run as root.
    """
    if os.geteuid() != 0:
        return check_identity(Identity(os.geteuid(), os.getegid(), switch=False))
    if not can_switch():
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            "The executor runs as root but may not change to another user (CAP_SETUID, CAP_SETGID): steps would run "
            "as root.",
            field="INTERLOCK_STEP_UID",
            fix="Give it both capabilities, or run it as an ordinary user.",
        )
    uid = env_int("INTERLOCK_STEP_UID", DEFAULT_STEP_UID, minimum=0, maximum=2**31 - 1, env=env)
    return check_identity(Identity(uid, uid, switch=True))


def can_switch() -> bool:
    """Whether this process may become another user."""
    return has_capability(_CAP_SETUID) and has_capability(_CAP_SETGID)


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect."""
    with open("/proc/self/status") as file:
        effective = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def check_identity(identity: Identity) -> Identity:
    """Refuse uid or gid 0."""
    if identity.uid == 0 or identity.gid == 0:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            "Steps would run as root, and a sandbox started by root can be left.",
            field="INTERLOCK_STEP_UID",
            fix="Set INTERLOCK_STEP_UID to an unused uid above 0, or run the executor as an ordinary user.",
        )
    return identity
