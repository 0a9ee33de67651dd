"""Trees as a stream of bytes, read from the store only as fast as the caller takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.engine import Engine
from interlock.executor.exports.git import Commit, Omissions, fast_import
from interlock.executor.exports.tar import tar

PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A tree (`sha256:…`) of a workspace; for git with its message and time."""

    workspace: str
    tree: str
    message: str = ""
    seconds: int = 0


async def export(
    engine: Engine, items: Sequence[Item], *, git: bool, omissions: Omissions
) -> AsyncGenerator[bytes, None]:
    """Pieces of at most 256 KiB; `omissions` is complete at the end.

    Raises INVALID_ARGUMENT (not exactly one tree for a tar archive), WORKSPACE_NOT_FOUND, TREE_NOT_FOUND.
    """
    if not git and len(items) != 1:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, "A tar archive holds exactly one tree.", field="items", fix="Name one."
        )
    trees = await engine.call(_trees, engine, items)
    store = engine.workspaces.store
    if git:
        commits = [
            Commit(tree, item.message.encode(), item.seconds) for item, tree in zip(items, trees, strict=True)
        ]
        source = fast_import(store, commits, omissions)
    else:
        source = tar(store, trees[0])
    async for piece in _drawn(engine, _pieces(source)):
        yield piece


def _trees(engine: Engine, items: Sequence[Item]) -> list[bytes]:
    return [engine.workspaces.known_tree(item.workspace, item.tree) for item in items]


async def _drawn(engine: Engine, pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The next piece is made when it is asked for. Whoever leaves early leaves nothing running or open."""
    drawing: asyncio.Future[bytes] | None = None
    try:
        while True:
            drawing = asyncio.ensure_future(engine.call(next, pieces, b""))
            piece = await asyncio.shield(drawing)
            if not piece:
                return
            yield piece
    finally:
        if drawing is not None and not drawing.done():
            await asyncio.wait({drawing})  # a generator that runs on a thread cannot be closed
        if drawing is not None and not drawing.cancelled():
            drawing.exception()
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _pieces(source: Iterator[bytes]) -> Iterator[bytes]:
    """What small and large pieces hold, in pieces of PIECE_BYTES."""
    buffer = bytearray()
    for data in source:
        buffer += data
        while len(buffer) >= PIECE_BYTES:
            yield bytes(buffer[:PIECE_BYTES])
            del buffer[:PIECE_BYTES]
    if buffer:
        yield bytes(buffer)
