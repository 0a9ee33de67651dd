"""What the executor's directory holds: in all, and for each workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.executor.engine import Engine
from interlock.executor.sandbox.disk import measure
from interlock.executor.snapshots.database import free_bytes
from interlock.executor.snapshots.store import StoreSize
from interlock.executor.workspaces.model import Workspace

MOST_WORKSPACES: Final = 1000
_MOST_FILES: Final = 2_000_000
_PAGE: Final = 5000


@dataclass(frozen=True)
class WorkspaceUse:
    """Bytes of one workspace: of its base and its forks on disk, of its objects as stored."""

    workspace: Workspace
    base_bytes: int
    fork_bytes: int
    exclusive: int
    shared: int
    previews: int
    trees: int


@dataclass(frozen=True)
class Storage:
    """The whole. `records` are the bytes of the databases beside the store."""

    workspaces: tuple[WorkspaceUse, ...]
    store: StoreSize
    max_bytes: int
    disk_free: int
    unreferenced: int
    records: int


async def storage(engine: Engine, wanted: Sequence[str]) -> Storage:
    """Costs one look at every object's row and at every directory of every tree; contents are not read.

    Raises WORKSPACE_NOT_FOUND.
    """
    return await engine.call(_storage, engine, tuple(wanted))


def _storage(engine: Engine, wanted: tuple[str, ...]) -> Storage:
    spaces = engine.workspaces
    everything = spaces.list_workspaces(limit=1 << 31)
    shown = [spaces.get(each) for each in wanted] or everything[:MOST_WORKSPACES]
    # By object, the set of workspaces that reach it, as bits.
    reached: dict[bytes, int] = {}
    bits = {workspace.id: 1 << index for index, workspace in enumerate(everything)}
    for workspace, bit in bits.items():
        for object_id in spaces.collector.marks(workspace).ids:
            reached[object_id] = reached.get(object_id, 0) | bit
    used = spaces.collector.reachable().ids
    sizes, unreferenced = _sizes(engine, reached, used)
    previews = engine.store.previews()
    root = spaces.store.directory.parent
    return Storage(
        tuple(_use(engine, each, bits.get(each.id, 0), sizes, previews) for each in shown),
        spaces.usage(),
        spaces.store.max_bytes,
        free_bytes(root),
        unreferenced,
        sum(
            path.stat().st_size for name in ("effects.db", "workspaces.db") for path in root.glob(f"{name}*")
        ),
    )


def _sizes(engine: Engine, reached: dict[bytes, int], used: set[bytes]) -> tuple[dict[int, int], int]:
    """Stored bytes by the set of workspaces that reach them; and of what nothing refers to."""
    sizes: dict[int, int] = {}
    unreferenced = 0
    after = b""
    while page := engine.workspaces.store.page(after, _PAGE):
        after = page[-1].id
        for each in page:
            mask = reached.get(each.id, 0)
            if mask:
                sizes[mask] = sizes.get(mask, 0) + each.stored
            elif each.id not in used:
                unreferenced += each.stored
    return sizes, unreferenced


def _use(
    engine: Engine, workspace: Workspace, bit: int, sizes: dict[int, int], previews: dict[str, int]
) -> WorkspaceUse:
    base, forks = engine.workspaces.directories(workspace.id)
    return WorkspaceUse(
        workspace,
        _on_disk(base),
        _on_disk(forks),
        sizes.get(bit, 0),
        sum(size for mask, size in sizes.items() if mask & bit and mask != bit),
        previews.get(workspace.id, 0),
        engine.workspaces.trees_kept(workspace.id),
    )


def _on_disk(path: Path) -> int:
    return measure(str(path), _MOST_FILES)[0]
