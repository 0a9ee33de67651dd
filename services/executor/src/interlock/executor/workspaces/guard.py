"""What every use of the workspaces has around it: a session of the store, and one answer to a full disk."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from interlock.executor.snapshots.database import disk_full, disk_is_full

T = TypeVar("T", bound=type)


def guarded(cls: T) -> T:
    """Wraps the public methods of a class that has a `store`.

    In a session, the trees and objects that a call uses are not collected before it ends. Whatever the call
    met a full disk with, on the executor's file system or on a workspace's, it ends with STORE_FULL; errors that
    were given a meaning before (a publication that is finished later) keep it.
    """
    for name, method in list(vars(cls).items()):
        if callable(method) and not name.startswith("_") and name != "close":
            setattr(cls, name, _guard(method))
    return cls


def _guard(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.store.sessions.open():
            try:
                return method(self, *args, **kwargs)
            except (OSError, sqlite3.Error) as error:
                if disk_is_full(error, self.store.directory):
                    raise disk_full() from error
                raise

    return call
