"""Which records of effects are kept, and deleting the others a bounded transaction at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from interlock.executor.domain.model import EffectState

PAGE: Final = 500
_FINAL: Final = (EffectState.APPLIED.value, EffectState.DISCARDED.value, EffectState.FAILED.value)
_ENDED: Final = "SELECT run, step, attempt, workspace, at FROM effects WHERE state IN (?,?,?)"
_WITHOUT_CHANGE: Final = """
SELECT run, step, attempt, workspace, at FROM effects WHERE state=? AND base_tree=result_tree
"""

Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


@dataclass(frozen=True)
class Rule:
    """What must stay. Times are RFC 3339 text.

    Args:
        own: records of workspaces that nobody speaks for are kept this far back, and answers to requests.
        history: records of the `named` workspaces, unless of one of `runs`.
        others: workspaces that somebody else speaks for: all their records stay.
        runs: whose records the caller keeps.
        known: runs that had records when the caller began to say what it keeps; others stay. None: no matter.
    """

    own: str
    history: str = ""
    named: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    known: frozenset[str] | None = None

    def keeps(self, run: str) -> bool:
        """Whether a run is spoken for, or could not be yet."""
        return run in self.runs or (self.known is not None and run not in self.known)

    def may_go(self, run: str, workspace: str, at: str) -> bool:
        """Whether the record of an effect that has ended may go."""
        if self.keeps(run) or workspace in self.others:
            return False
        return at < (self.history if workspace in self.named else self.own)

    def is_over(self, run: str, workspace: str, at: str) -> bool:
        """Whether an effect that changes nothing may go undecided: its run is over for who speaks for the workspace."""
        return workspace in self.named and self.may_go(run, workspace, at)


def prune(transaction: Transaction, rule: Rule, *, dry_run: bool) -> int:
    """Delete what may go. Returns how many effects. Undecided changes, and ones whose outcome is unknown, never go.

    A step that changed nothing succeeds without a word to the executor: its effect stays prepared until it goes here.
    """
    with transaction() as db:
        rows = db.execute(_ENDED, _FINAL).fetchall()
        still = db.execute(_WITHOUT_CHANGE, (EffectState.PREPARED.value,)).fetchall()
    doomed = [row[:3] for row in rows if rule.may_go(row[0], row[3], row[4])]
    doomed += [row[:3] for row in still if rule.is_over(row[0], row[3], row[4])]
    if dry_run:
        return len(doomed)
    for start in range(0, len(doomed), PAGE):
        with transaction() as db:
            db.executemany(
                "DELETE FROM effects WHERE run=? AND step=? AND attempt=?", doomed[start : start + PAGE]
            )
    with transaction() as db:
        db.execute("DELETE FROM requests WHERE at<?", (rule.own,))
        for table in ("epochs", "drivers"):
            _forget_runs(db, table, rule)
    return len(doomed)


def _forget_runs(db: sqlite3.Connection, table: str, rule: Rule) -> None:
    """Epochs of runs of which nothing else is left: who drove them has no call under way any more."""
    old = db.execute(
        f"SELECT run FROM {table} WHERE at<? AND run NOT IN (SELECT run FROM effects)",  # noqa: S608 fixed names
        (min(filter(None, (rule.own, rule.history))),),
    ).fetchall()
    gone = [row for row in old if not rule.keeps(row[0])]
    db.executemany(f"DELETE FROM {table} WHERE run=?", gone)  # noqa: S608 fixed names
