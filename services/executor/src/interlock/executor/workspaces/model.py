"""What the executor's service sees of workspaces: ids, paths and tree ids as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from interlock.common.digests import digest_text
from interlock.executor.files.names import to_text
from interlock.executor.snapshots.compare import content_sizes
from interlock.executor.snapshots.model import DIRECTORY, FILE, SYMLINK, Change, ChangeKind, Entry
from interlock.executor.snapshots.store import Store

NodeKind = Literal["file", "directory", "symlink"]
_KINDS: dict[str, NodeKind] = {FILE: "file", DIRECTORY: "directory", SYMLINK: "symlink"}


@dataclass(frozen=True)
class DirectorySource:
    """An existing directory, used in place: it stays where it is and its owner goes on using it."""

    path: Path


@dataclass(frozen=True)
class GitSource:
    """A git repository to clone: an https, http, ssh, git or file URL, `user@host:path`, or an absolute path.

    `ref` is a branch or tag (the repository's default when empty). The clone goes to `destination`, which must
    not exist, or to a directory of the executor's own.
    """

    url: str
    ref: str = ""
    destination: Path | None = None


@dataclass(frozen=True)
class ArchiveSource:
    """A tar (plain, gzip, bzip2, xz) or zip file, of which `strip` leading path components are dropped."""

    path: Path
    strip: int = 0
    destination: Path | None = None


@dataclass(frozen=True)
class TreeSource:
    """A tree (`sha256:…`) that another workspace is or was at, checked out to `destination`.

    That is a directory which is absent or empty, or by default one of the executor's own.
    """

    workspace: str
    tree: str
    destination: Path | None = None


Source = DirectorySource | GitSource | ArchiveSource
AnySource = Source | TreeSource


class LeftOut(NamedTuple):
    """How many sockets, fifos and devices an import left where they are, and the first of them: path and kind."""

    total: int = 0
    first: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Workspace:
    """A registered workspace.

    `live` is the user's directory; `managed` tells that the executor made it. `head` is a tree id
    (`sha256:…`); `entries` and `content_bytes` are its size. `source` describes the origin for people. `limits` are
    what commands in it may use, by the names of `domain.limits.Limits`, as far as it has any of its own.
    """

    id: str
    live: Path
    managed: bool
    head: str
    entries: int
    content_bytes: int
    created: datetime
    source: str
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)


class Node(NamedTuple):
    """What is at a path of a tree. `digest` is a file's content, `target` a symlink's; `size` a file's bytes."""

    kind: NodeKind
    mode: int
    size: int
    digest: str
    target: str


class PathChange(NamedTuple):
    """One path that differs: `added`, `modified`, `mode` (only permission bits) or `deleted`."""

    path: str
    kind: ChangeKind
    old: Node | None
    new: Node | None


class Drift(NamedTuple):
    """What somebody else changed in the live directory, now part of the head.

    `skipped` are sockets, fifos and devices, which stay where they are and are in no tree.
    """

    old_tree: str
    new_tree: str
    changes: tuple[PathChange, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Fork:
    """An isolated view of a head, to run something in.

    In `overlay` mode mount `lower`, `upper` and `work`; in `copy` mode `upper` is a complete copy, to be bound
    as it is, which holds `held` (bytes on disk, entries) before anything runs. All belong to the step's uid and lie
    on one file system.
    """

    id: str
    workspace: str
    base_tree: str
    mode: Literal["overlay", "copy"]
    lower: Path
    upper: Path
    work: Path
    drift: Drift | None = None
    held: tuple[int, int] = (0, 0)


class Capture(NamedTuple):
    """What a step changed. Equal trees mean nothing did."""

    base_tree: str
    result_tree: str
    changes: tuple[PathChange, ...]


class PublishResult(NamedTuple):
    """How a publication ended.

    `how`: `published` (the head is the result), `merged` (others' disjoint changes were kept: the head is both),
    `already` (it had been done before). `kept` are paths that somebody changed in the very moment: theirs stands,
    and the next fork sees it as drift (of a repeated answer the first hundred; `kept_count` is of all). `drift` is what
    others had changed.
    """

    head_tree: str
    how: Literal["published", "merged", "already"]
    drift: Drift | None = None
    kept: tuple[str, ...] = ()
    kept_count: int = 0


class Head(NamedTuple):
    """One state of a workspace: `cause` is import, drift, publish, rollback or revert; `key` the publication's."""

    number: int
    tree: str
    cause: str
    key: str
    at: datetime


def node(sizes: Mapping[bytes, int], entry: Entry) -> Node:
    """An entry for people; `sizes` of contents by id."""
    if entry.kind == SYMLINK:
        return Node("symlink", 0, len(entry.value), "", to_text(entry.value))
    size = sizes[entry.value] if entry.kind == FILE else 0
    return Node(_KINDS[entry.kind], entry.mode, size, digest_text(entry.value), "")


def path_changes(store: Store, changes: list[Change]) -> tuple[PathChange, ...]:
    """Changes for people."""
    sizes = content_sizes(store, changes)

    def shown(entry: Entry | None) -> Node | None:
        return node(sizes, entry) if entry is not None else None

    return tuple(PathChange(to_text(c.path), c.kind, shown(c.old), shown(c.new)) for c in changes)
