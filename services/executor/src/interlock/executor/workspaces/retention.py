"""Which trees, history and answers of workspaces are kept. Decides over rows; `Registry.prune` deletes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from interlock.executor.snapshots.model import Snapshot

InUse = Callable[[Iterable[bytes]], list[bytes]]
"""Of some notes, those that no session has."""


@dataclass(frozen=True)
class Keep:
    """What must stay. Times are RFC 3339 text; what is not older than one stays.

    Args:
        grace: nothing younger goes, whatever else says.
        own: history of workspaces that nobody has named since then is kept this far back.
        named: workspaces that the caller knows, and
        history: how far back theirs is kept.
        trees: ids that the caller refers to, wherever they are.
        used: per workspace, what effects that wait and forks stand on or lead to.
        since: notes of what was entered after the collection began: it stays, whatever the times say.
    """

    grace: str
    own: str
    history: str = ""
    named: frozenset[str] = frozenset()
    trees: frozenset[bytes] = frozenset()
    used: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    since: Set[bytes] = frozenset()

    def back_to(self, workspace: str, last_named: str) -> str | None:
        """How far back a workspace's history is kept; None: all of it.

        A workspace that somebody named lately is theirs, also in a collection for another reason.
        """
        if workspace in self.named:
            return min(self.history, self.grace)
        return min(self.own, self.grace) if last_named < self.own else None


class Pruned(NamedTuple):
    """Rows that went: trees, entries of histories, answers to publications."""

    trees: int = 0
    heads: int = 0
    publications: int = 0


class Roots(NamedTuple):
    """What the rows that stay refer to: trees with times, and contents that stat caches name."""

    snapshots: list[Snapshot]
    contents: set[bytes]


def note_of(workspace: str, tree: bytes) -> bytes:
    """How a session notes that it uses a tree of a workspace."""
    return workspace.encode() + b"\0" + tree


def prune(db: sqlite3.Connection, keep: Keep, unused: InUse) -> Pruned:
    """Delete what may go, in the transaction that the caller has begun."""
    total = Pruned()
    rows = db.execute(
        "SELECT w.id, coalesce(n.at,'') FROM workspaces w LEFT JOIN named n ON n.workspace=w.id WHERE w.ready=1"
    ).fetchall()
    for workspace, last_named in rows:
        back_to = keep.back_to(workspace, last_named)
        if back_to is not None:
            done = _prune_one(db, workspace, keep, back_to, unused)
            total = Pruned(*(a + b for a, b in zip(total, done, strict=True)))
    for table in ("heads", "snapshots", "publications", "stat_cache"):
        db.execute(f"DELETE FROM {table} WHERE workspace NOT IN (SELECT id FROM workspaces)")  # noqa: S608 fixed names
    db.execute("DELETE FROM named WHERE workspace NOT IN (SELECT id FROM workspaces)")
    return total


def roots(db: sqlite3.Connection, loaded: Collection[str] = ()) -> Roots:
    """Everything the register refers to, but for the saved stat caches of workspaces that are `loaded`."""
    snapshots = [Snapshot(*row) for row in db.execute("SELECT tree, times FROM snapshots")]
    for row in db.execute("SELECT base, target, live FROM records"):
        snapshots += [Snapshot(tree) for tree in row if tree is not None]
    snapshots += [Snapshot(row[0]) for row in db.execute("SELECT DISTINCT tree FROM heads")]
    caches = {row[0] for row in db.execute("SELECT DISTINCT workspace FROM stat_cache")}.difference(loaded)
    contents: set[bytes] = set()
    for workspace in caches:
        contents.update(
            row[0] for row in db.execute("SELECT id FROM stat_cache WHERE workspace=?", (workspace,))
        )
    return Roots(snapshots, contents)


def forget_contents(db: sqlite3.Connection, workspace: str, marked: Set[bytes]) -> None:
    """Drop from a saved stat cache what names other contents: it would be taken over, and not be there."""
    rows = db.execute("SELECT directory, name, id FROM stat_cache WHERE workspace=?", (workspace,))
    gone = [(workspace, row[0], row[1]) for row in rows.fetchall() if row[2] not in marked]
    db.executemany("DELETE FROM stat_cache WHERE workspace=? AND directory=? AND name=?", gone)


def _prune_one(db: sqlite3.Connection, workspace: str, keep: Keep, back_to: str, unused: InUse) -> Pruned:
    heads = db.execute(
        "SELECT number, tree, at FROM heads WHERE workspace=? ORDER BY number", (workspace,)
    ).fetchall()
    trees = dict(db.execute("SELECT tree, at FROM snapshots WHERE workspace=?", (workspace,)).fetchall())
    # What the caller did not name it has seen and let go; what nobody speaks for has the whole time.
    young = keep.grace if workspace in keep.named else back_to
    stays = {tree for tree, at in trees.items() if at >= young or tree in keep.trees}
    stays |= {tree for tree in trees if note_of(workspace, tree) in keep.since}
    stays |= keep.used.get(workspace, frozenset())
    for row in db.execute("SELECT base, target, live FROM records WHERE workspace=?", (workspace,)):
        stays.update(tree for tree in row if tree is not None)
    for index, (_, tree, at) in enumerate(heads):
        # A head was in force until the next one came: that moment counts.
        following, _, until = heads[index + 1] if index + 1 < len(heads) else (0, b"", "")
        left = note_of(workspace, b"%d" % following) in keep.since
        if index in (0, len(heads) - 1) or at >= back_to or until >= back_to or left:
            stays.add(tree)
    notes = {note_of(workspace, tree): tree for tree in trees if tree not in stays}
    gone = {notes[note] for note in unused(notes)}
    known = trees.keys() - gone
    old = [number for number, tree, _ in heads if tree not in known]
    answers = db.execute("SELECT key, request, head, at FROM publications WHERE workspace=?", (workspace,))
    # An answer is needed as long as its trees: a revert asks whether they were published.
    forgotten = [
        key
        for key, request, head, at in answers.fetchall()
        if at < back_to
        and note_of(workspace, key.encode()) not in keep.since
        and not {request[-64:-32], request[-32:], head} <= known
    ]
    for table, column, values in (
        ("snapshots", "tree", gone),
        ("heads", "number", old),
        ("publications", "key", forgotten),
    ):
        db.executemany(
            f"DELETE FROM {table} WHERE workspace=? AND {column}=?",  # noqa: S608 fixed names
            [(workspace, value) for value in values],
        )
    return Pruned(len(gone), len(old), len(forgotten))
