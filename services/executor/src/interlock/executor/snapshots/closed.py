"""What an ordinary user's executor could write and not read back, and so never writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import shown
from interlock.executor.snapshots.model import DIRECTORY, FILE, Change

_NEEDED: Final = {FILE: 0o400, DIRECTORY: 0o500}
_NAMED: Final = 20


def refuse_closed(changes: Iterable[Change]) -> None:
    """Raises EFFECT_NOT_PUBLISHABLE, naming up to twenty paths that their owner may not read; root reads them all.

    In the user's directory no mode is changed to look, so that such a file could not be told from a changed one.
    """
    if os.geteuid() == 0:
        return
    closed = [change.path for change in changes if _is_closed(change)]
    if not closed:
        return
    named = [shown(path) for path in closed[:_NAMED]]
    more = f" and {len(closed) - _NAMED} more" if len(closed) > _NAMED else ""
    raise InterlockError(
        Reason.EFFECT_NOT_PUBLISHABLE,
        f"Their owner could not read these: {', '.join(named)}{more}.",
        fix="Let the command leave r to the owner of every file, and r and x to that of every directory.",
        metadata={"paths": "\n".join(named)},
    )


def _is_closed(change: Change) -> bool:
    needed = _NEEDED.get(change.new.kind, 0) if change.new is not None else 0
    return change.new is not None and change.new.mode & needed != needed
