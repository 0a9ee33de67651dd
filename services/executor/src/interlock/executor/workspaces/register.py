"""The layout of the executor's register, and what is read from it."""

from __future__ import annotations

from typing import Final, NamedTuple

VERSION: Final = 4
"""Of the layout, in the file's `user_version`: 0 had no times in `snapshots` and `publications`, and no `named`;
1 had no `back` in `records`, and no `kept` in `publications`; 2 had no `limits` in `workspaces`; 3 had no
`left_out` there."""

KEPT_PATHS: Final = 100
"""Of the paths that a publication left alone, those that are remembered with its answer."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS workspaces(
  id TEXT PRIMARY KEY, live BLOB NOT NULL, managed INTEGER NOT NULL, ready INTEGER NOT NULL,
  created TEXT NOT NULL, source TEXT NOT NULL, labels TEXT NOT NULL, limits TEXT NOT NULL DEFAULT '',
  left_out TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS heads(
  workspace TEXT NOT NULL, number INTEGER NOT NULL, tree BLOB NOT NULL, cause TEXT NOT NULL, key TEXT NOT NULL,
  at TEXT NOT NULL, PRIMARY KEY(workspace, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots(
  workspace TEXT NOT NULL, tree BLOB NOT NULL, times BLOB NOT NULL, entries INTEGER NOT NULL,
  content_bytes INTEGER NOT NULL, at TEXT NOT NULL DEFAULT '', PRIMARY KEY(workspace, tree)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records(
  workspace TEXT PRIMARY KEY, token TEXT NOT NULL, base BLOB NOT NULL, live BLOB, target BLOB NOT NULL,
  cause TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, how TEXT NOT NULL, back TEXT NOT NULL DEFAULT '')
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS publications(
  workspace TEXT NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, head BLOB NOT NULL, how TEXT NOT NULL,
  at TEXT NOT NULL DEFAULT '', kept TEXT NOT NULL DEFAULT '', PRIMARY KEY(workspace, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS modes(
  workspace TEXT NOT NULL, path BLOB NOT NULL, mode INTEGER NOT NULL, PRIMARY KEY(workspace, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS named(workspace TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS placing(
  workspace TEXT PRIMARY KEY, device TEXT NOT NULL, inode TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stat_cache(
  workspace TEXT NOT NULL, directory BLOB NOT NULL, name BLOB NOT NULL, inode INTEGER, size INTEGER,
  mtime INTEGER, ctime INTEGER, mode INTEGER, id BLOB, PRIMARY KEY(workspace, directory, name)) WITHOUT ROWID;
"""


class Publication(NamedTuple):
    """What was asked under a key, the head it gave, how, and the live paths left alone: all, and the first of them."""

    request: bytes
    head: bytes
    how: str
    kept_count: int
    kept: tuple[str, ...]
