"""The executor's register of workspaces, heads and unfinished publications: one SQLite file.

WAL with synchronous=FULL: what a method wrote is durable when it returns.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from interlock.common.clock import parse_rfc3339, rfc3339
from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.model import Snapshot, Totals
from interlock.executor.snapshots.sessions import Sessions
from interlock.executor.workspaces.entries import Since
from interlock.executor.workspaces.model import Head, LeftOut, Workspace
from interlock.executor.workspaces.records import Records
from interlock.executor.workspaces.register_file import now_text
from interlock.executor.workspaces.retention import (
    Keep,
    Pruned,
    Roots,
    note_of,
    prune,
    roots,
)
from interlock.executor.workspaces.stat_caches import StatCaches

NAMES_AT_ONCE: Final = 500
"""Names that one transaction enters: others wait for no more."""


class Registry(Records, StatCaches):
    """Thread-safe; every method but `name` is one transaction. Raises STORE_FULL where the disk is."""

    def __init__(
        self, path: Path, sessions: Sessions | None = None, now: Callable[[], str] = now_text
    ) -> None:
        super().__init__(path, sessions, now)
        self._to_forget: set[str] = set()

    def add(self, workspace: Workspace) -> None:
        """Enter a workspace that is being imported. Raises WORKSPACE_EXISTS."""
        row = (
            workspace.id,
            bytes(workspace.live),
            int(workspace.managed),
            rfc3339(workspace.created),
            workspace.source,
            json.dumps(dict(workspace.labels), sort_keys=True),
            json.dumps(dict(workspace.limits), sort_keys=True) if workspace.limits else "",
        )
        try:
            with self._transaction() as db:
                db.execute(
                    "INSERT INTO workspaces(id, live, managed, ready, created, source, labels, limits)"
                    " VALUES(?,?,?,0,?,?,?,?)",
                    row,
                )
        except sqlite3.IntegrityError:
            raise InterlockError(
                Reason.WORKSPACE_EXISTS, f"There is a workspace {workspace.id} already.", field="workspace"
            ) from None

    def made_live(self, workspace: str) -> None:
        """The executor made the live directory itself, and may remove it if the import fails."""
        with self._transaction() as db:
            db.execute("UPDATE workspaces SET managed=1 WHERE id=?", (workspace,))

    def left_out(self, workspace: str, found: LeftOut) -> None:
        """What the import does not take along; durable before the workspace is there."""
        text = json.dumps({"total": found.total, "first": found.first}) if found.total else ""
        with self._transaction() as db:
            db.execute("UPDATE workspaces SET left_out=? WHERE id=?", (text, workspace))

    def placing(self, workspace: str, device: int, inode: int) -> None:
        """All of the import is durable, and this very directory is about to take the place of the live one."""
        with self._transaction() as db:  # as text: SQLite's integers are signed
            db.execute("INSERT OR REPLACE INTO placing VALUES(?,?,?)", (workspace, str(device), str(inode)))

    def imported(self, workspace: str, snapshot: Snapshot, totals: Totals, at: str) -> None:
        """The import is finished: the workspace has its first head."""
        with self._transaction() as db:
            placed = db.execute("DELETE FROM placing WHERE workspace=?", (workspace,)).rowcount
            db.execute(
                "UPDATE workspaces SET ready=1, managed=max(managed,?) WHERE id=?", (placed, workspace)
            )
            self._entries.snapshot(db, workspace, snapshot, totals, at)
            self._entries.head(db, workspace, snapshot.tree, "import", "", at)

    def forget(self, workspace: str) -> None:
        """Remove everything about a workspace."""
        with self._transaction() as db:
            db.execute("DELETE FROM workspaces WHERE id=?", (workspace,))
            for table in (
                "heads",
                "snapshots",
                "records",
                "publications",
                "stat_cache",
                "named",
                "placing",
                "modes",
            ):
                db.execute(f"DELETE FROM {table} WHERE workspace=?", (workspace,))  # noqa: S608 fixed names

    def forget_failed(self, workspace: str) -> None:
        """`forget` for an import that failed, perhaps because the disk is full: then later, before the next one."""
        try:
            self.forget(workspace)
        except InterlockError as error:
            if error.reason is not Reason.STORE_FULL:
                raise
            self._to_forget.add(workspace)
        else:
            self._to_forget.discard(workspace)

    def unfinished(self) -> list[tuple[str, Path, bool, tuple[int, int] | None]]:
        """Workspaces whose import was cut off.

        Each: id, live directory, whether the executor made that, and device and inode of what was to be placed there.
        """
        rows = self._rows(
            "SELECT id, live, managed, device, inode FROM workspaces LEFT JOIN placing ON workspace=id WHERE ready=0"
        )
        return [(r[0], _path(r[1]), bool(r[2]), (int(r[3]), int(r[4])) if r[3] else None) for r in rows]

    def lives(self) -> list[tuple[str, Path]]:
        """Every workspace's live directory, unfinished ones included."""
        for workspace in list(self._to_forget):
            self.forget_failed(workspace)
        rows = self._rows("SELECT id, live FROM workspaces")
        return [(row[0], _path(row[1])) for row in rows if row[0] not in self._to_forget]

    def workspaces(self, after: str = "", limit: int = 1000, workspace: str = "") -> list[Workspace]:
        """Ready workspaces in order of id, after one; or only the one named."""
        rows = self._rows(
            "SELECT w.id, w.live, w.managed, w.created, w.source, w.labels, h.tree, s.entries, s.content_bytes,"
            " w.limits, w.left_out"
            " FROM workspaces w JOIN heads h ON h.workspace=w.id AND h.number="
            "  (SELECT max(number) FROM heads WHERE workspace=w.id)"
            " JOIN snapshots s ON s.workspace=w.id AND s.tree=h.tree"
            " WHERE w.ready=1 AND w.id>? AND (?='' OR w.id=?) ORDER BY w.id LIMIT ?",
            after,
            workspace,
            workspace,
            limit,
        )
        return [_workspace(row) for row in rows]

    def get(self, workspace: str) -> Workspace:
        """One workspace. Raises WORKSPACE_NOT_FOUND."""
        found = self.workspaces(workspace=workspace)
        if not found:
            raise InterlockError(
                Reason.WORKSPACE_NOT_FOUND, f"There is no workspace {workspace[:64]!r}.", field="workspace"
            )
        return found[0]

    def heads(self, workspace: str) -> list[Head]:
        """Every state the workspace has been in, oldest first."""
        rows = self._rows(
            "SELECT number, tree, cause, key, at FROM heads WHERE workspace=? ORDER BY number", workspace
        )
        return [Head(r[0], digest_text(r[1]), r[2], r[3], parse_rfc3339(r[4])) for r in rows]

    def put_snapshot(self, workspace: str, snapshot: Snapshot, totals: Totals) -> None:
        """Remember the times and the size that go with a tree of a workspace."""
        with self._transaction() as db:
            self._entries.snapshot(db, workspace, snapshot, totals, self._now())

    def snapshot(self, workspace: str, tree: bytes) -> tuple[Snapshot, Totals] | None:
        """A tree with the times it was last seen with in this workspace; None when it never was here.

        From here on it is in use, until the caller's session ends.
        """
        self._sessions.note(note_of(workspace, tree))
        rows = self._rows(
            "SELECT times, entries, content_bytes FROM snapshots WHERE workspace=? AND tree=?",
            workspace,
            tree,
        )
        return (Snapshot(tree, rows[0][0]), Totals(rows[0][1], rows[0][2])) if rows else None

    def known_trees(self) -> set[bytes]:
        """Every tree of every workspace."""
        return {row[0] for row in self._rows("SELECT DISTINCT tree FROM snapshots")}

    def since(self) -> Since:
        """The position in the register now, and what is entered after it."""
        with self._lock:
            return self._entries.begin()

    def name(self, workspaces: Iterable[str]) -> None:
        """Somebody says that these workspaces are theirs. A page is one transaction, and others come between."""
        at, left = self._now(), iter(workspaces)
        while page := list(islice(left, NAMES_AT_ONCE)):
            with self._transaction() as db:
                db.executemany("INSERT OR REPLACE INTO named VALUES(?,?)", ((each, at) for each in page))

    def named_since(self, at: str) -> set[str]:
        """The workspaces that somebody has named since a time."""
        return {row[0] for row in self._rows("SELECT workspace FROM named WHERE at>=?", at)}

    def prune(
        self, keep: Keep, loaded: Collection[str] = (), *, dry_run: bool = False
    ) -> tuple[Pruned, Roots]:
        """Delete the rows that may go. Returns how many, and what the others refer to, as `roots` does.

        What a session uses stays. With `dry_run` everything is put back.
        """
        with self._lock:
            try:
                with self._transaction() as db:
                    found = prune(db, keep, self._sessions.unused), roots(db, loaded)
                    if dry_run:
                        raise _PutBack
            except _PutBack:
                pass
        return found

    def roots(self, loaded: Collection[str] = ()) -> Roots:
        """What the rows refer to, but for the saved stat caches of workspaces that are `loaded`."""
        with self._lock:
            return roots(self._db, loaded)

    def trees_of(self, workspace: str) -> list[Snapshot]:
        """Every tree that a workspace has."""
        rows = self._rows("SELECT tree, times FROM snapshots WHERE workspace=?", workspace)
        return [Snapshot(*row) for row in rows]


class _PutBack(Exception):
    pass


def _workspace(row: tuple[Any, ...]) -> Workspace:
    labels: Mapping[str, str] = json.loads(row[5])
    return Workspace(
        id=row[0],
        live=_path(row[1]),
        managed=bool(row[2]),
        head=digest_text(row[6]),
        entries=row[7],
        content_bytes=row[8],
        created=parse_rfc3339(row[3]),
        source=row[4],
        labels=labels,
        limits=json.loads(row[9]) if row[9] else {},
        left_out=_left_out(row[10]),
    )


def _left_out(text: str) -> LeftOut:
    if not text:
        return LeftOut()
    known = json.loads(text)
    return LeftOut(known["total"], tuple((path, what) for path, what in known["first"]))


def _path(raw: bytes) -> Path:
    return Path(os.fsdecode(raw))
