"""Limits of one step: defaults and maxima, and what a workspace makes of them.

All sizes are bytes, all times whole microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from interlock.common.errors import InterlockError, Reason

MIB = 1 << 20
GIB = 1 << 30
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one step may use. Every field is positive.

    Args:
        wall_us: time from start to the end of its last process.
        cpu_us: processor time of all its processes together.
        memory_bytes: memory of all its processes together, /tmp and /dev/shm included where a cgroup counts.
        processes: processes and threads at one time.
        open_files: file descriptors of one process.
        file_bytes: size of one file.
        written_bytes: bytes the fork's upper directory may hold.
        written_files: entries the fork's upper directory may hold.
        output_bytes: bytes written to stdout and stderr together.
        kept_bytes: of each stream, how much is kept (half from its head, half from its tail).
        tmp_bytes: size of /tmp.
        shm_bytes: size of /dev/shm.
    """

    wall_us: int = 600 * SECOND
    cpu_us: int = 1200 * SECOND
    memory_bytes: int = 2 * GIB
    processes: int = 512
    open_files: int = 1024
    file_bytes: int = 512 * MIB
    written_bytes: int = 2 * GIB
    written_files: int = 100_000
    output_bytes: int = 2 * GIB
    kept_bytes: int = 1 * MIB
    tmp_bytes: int = 256 * MIB
    shm_bytes: int = 64 * MIB


DEFAULT_LIMITS = Limits()

MAXIMUM_LIMITS = Limits(
    wall_us=86_400 * SECOND,
    cpu_us=10 * 86_400 * SECOND,
    memory_bytes=256 * GIB,
    processes=32_768,
    open_files=65_536,
    file_bytes=64 * GIB,
    written_bytes=256 * GIB,
    written_files=2_000_000,
    output_bytes=64 * GIB,
    kept_bytes=4 * MIB,
    tmp_bytes=16 * GIB,
    shm_bytes=4 * GIB,
)


def in_force(defaults: Limits, allowed: Mapping[str, int], asked: Mapping[str, int]) -> Limits:
    """What a step gets: what it asks for, else what its workspace says, else the executor's default.

    Args:
        allowed: the workspace's limits, as far as it has any.
        asked: the step's, as far as it names any.

    Raises LIMIT_TOO_HIGH for a step that asks for more than its workspace allows.
    """
    for name, value in asked.items():
        if name in allowed and value > allowed[name]:
            raise InterlockError(
                Reason.LIMIT_TOO_HIGH,
                f"The step asks for a {name} of {value}; its workspace allows {allowed[name]}.",
                field=f"limits.{name}",
                fix="Ask for less, or use a workspace with a higher limit.",
                metadata={"limit": name, "asked": str(value), "allowed": str(allowed[name])},
            )
    return replace(defaults, **{**allowed, **asked})
