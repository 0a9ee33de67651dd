"""What the last looks at live directories saw, as the register keeps it from one process to the next."""

from __future__ import annotations

from collections.abc import Collection, Set

from interlock.executor.snapshots.scan import Signature, StatCache
from interlock.executor.workspaces.register_file import RegisterFile
from interlock.executor.workspaces.retention import forget_contents


class StatCaches(RegisterFile):
    """The part of the register that is about stat caches; every method is one transaction a workspace."""

    def load_cache(self, workspace: str) -> StatCache:
        """The stat cache as it was last saved; stale entries only cost reading a file again."""
        cache = StatCache()
        rows = self._rows(
            "SELECT directory, name, inode, size, mtime, ctime, mode, id FROM stat_cache WHERE workspace=?",
            workspace,
        )
        for directory, name, inode, size, mtime, ctime, mode, content in rows:
            seen: Signature = (inode, size, mtime, ctime, mode)
            cache.files.setdefault(directory, {})[name] = (seen, content)
        return cache

    def save_cache(self, workspace: str, cache: StatCache) -> None:
        """Replace the saved stat cache."""
        with self._transaction() as db:
            db.execute("DELETE FROM stat_cache WHERE workspace=?", (workspace,))
            db.executemany(
                "INSERT INTO stat_cache VALUES(?,?,?,?,?,?,?,?,?)",
                (
                    (workspace, directory, name, *seen, content)
                    for directory, files in cache.files.items()
                    for name, (seen, content) in files.items()
                    # SQLite integers have 63 bits; file systems have larger inode numbers, and years beyond 2262.
                    if seen[0] < 1 << 63 and abs(seen[2]) < 1 << 63
                ),
            )

    def forget_contents(self, loaded: Collection[str], marked: Set[bytes]) -> None:
        """Of the saved stat caches of these workspaces, keep what names contents that stay."""
        for workspace in loaded:
            with self._transaction() as db:
                forget_contents(db, workspace, marked)
