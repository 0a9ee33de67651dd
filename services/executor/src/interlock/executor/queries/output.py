"""A step's output, live or as it was kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from interlock.common.clock import parse_rfc3339
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.hub import PIECE_BYTES, Piece
from interlock.executor.effects.store import Record
from interlock.executor.engine import Engine

Kept = dict[str, tuple[bytes, bytes, int]]
"""By stream: head, tail, total bytes."""


async def stream(
    engine: Engine, key: EffectKey, offsets: dict[str, int], heartbeat: float, kept: Callable[[bytes], Kept]
) -> AsyncIterator[Piece | None]:
    """Pieces from the offsets on; None is a heartbeat. `kept` reads Kept out of a record's payload.

    Raises EFFECT_NOT_FOUND, RESOURCE_EXHAUSTED for a reader that is too slow.
    """
    log = engine.hub.get(key)
    if log is not None:
        async for piece in log.read(offsets, heartbeat):
            yield piece
        return
    found = await engine.look(key)
    if found is None:
        raise InterlockError(Reason.EFFECT_NOT_FOUND, f"There is no step {key} here.", field="key")
    for name, (head, tail, total) in kept(found.payload).items():
        wanted = offsets.get(name, 0)
        for begin, data in ((0, head), (total - len(tail), tail)):
            for offset, data_piece in _cut(begin, data, wanted):
                yield Piece(name, offset, data_piece, parse_rfc3339(found.at))


def _cut(begin: int, data: bytes, wanted: int) -> list[tuple[int, bytes]]:
    first = max(wanted - begin, 0)
    return [(begin + at, data[at : at + PIECE_BYTES]) for at in range(first, len(data), PIECE_BYTES)]


async def record(engine: Engine, key: EffectKey) -> Record:
    """An effect as recorded, or as being computed. Raises EFFECT_NOT_FOUND."""
    found = await engine.look(key)
    if found is None and engine.hub.get(key) is not None:
        return Record(key, "", "", EffectState.PREPARING)
    if found is None:
        raise InterlockError(Reason.EFFECT_NOT_FOUND, f"There is no step {key} here.", field="key")
    return found
