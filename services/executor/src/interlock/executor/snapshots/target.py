"""What a move is told of a directory, and what it tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from interlock.executor.files.root import Root
from interlock.executor.files.scratch import Scratch
from interlock.executor.snapshots.model import Owner
from interlock.executor.snapshots.present import Present
from interlock.executor.snapshots.unlock import Modes


class Applied(NamedTuple):
    """Paths driven to their new state, and paths left alone because somebody changed them meanwhile."""

    changed: int
    kept: tuple[bytes, ...]


@dataclass(frozen=True)
class Target:
    """A directory to be changed.

    Args:
        root: the directory.
        point: prefix of its failpoints.
        owner: whom new files are given to; None leaves them this process's.
        redo: an earlier attempt may have been cut off: put touched directories' modes right, too.
        modes: of a directory that is somebody's: where modes are noted that have to be changed for a moment.
        inherit: give a new file the owner of what it replaces, or of its parent (needs root).
        seen: of a directory without a guard, where it is done again: knows what was done already.
        guard: knows what is really there; None for a directory that nobody else writes to.
        scratch: makes and removes directories with many files.
    """

    root: Root
    point: str
    owner: Owner | None = None
    inherit: bool = False
    redo: bool = False
    modes: Modes | None = None
    seen: Present | None = None
    guard: Present | None = None
    scratch: Scratch | None = None
