"""Throw a prepared effect away, or stop the step under way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.unsettled import while_unsettled
from interlock.executor.domain.caller import BY_HAND, Caller, require_owner
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.store import Record
from interlock.executor.engine import Engine


async def discard(engine: Engine, key: EffectKey, *, caller: Caller = BY_HAND) -> Record:
    """The record afterwards: discarded, or failed when there was nothing to throw away.

    A step under way is ended, its whole process tree, before this returns. Discarding what was never asked for is
    remembered too: a call that comes late computes nothing. Raises EPOCH_STALE, EFFECT_NOT_OWNED,
    EFFECT_ALREADY_APPLIED; UNAVAILABLE while its publication has begun and is neither finished nor taken back.
    """
    await engine.fence(key.run, caller)
    while (owner := engine.inflight.owner(key)) is not None:
        require_owner(owner, caller, key)
        await engine.inflight.settle(key, cancel=True)

    async def work(_: asyncio.Event) -> Record:
        return await _discard(engine, key, caller)

    return await engine.inflight.join(key, "discard", "", work, caller)


async def _discard(engine: Engine, key: EffectKey, caller: Caller) -> Record:
    record = await engine.look(key)
    if record is not None:
        require_owner(record.owner, caller, key)
    if record is not None and record.state is EffectState.APPLYING:
        record = await _settled(engine, record)
    if record is not None and record.state is EffectState.APPLIED:
        raise InterlockError(
            Reason.EFFECT_ALREADY_APPLIED,
            f"The effect of step {key} is published already.",
            field="key",
            fix="Restore an earlier tree to undo it.",
        )
    if record is not None and record.state in (EffectState.DISCARDED, EffectState.FAILED):
        return record
    empty = Record(key, "", "", EffectState.DISCARDED, at=engine.now(), owner=caller.owner)
    done = empty if record is None else replace(record, state=EffectState.DISCARDED, at=engine.now())
    await engine.call(engine.store.put, done)
    await engine.drop_fork(key)
    return done


async def _settled(engine: Engine, record: Record) -> Record | None:
    """The record when its publication, which was begun and cut off, has ended one way or the other."""
    try:
        await engine.call(engine.workspaces.settle, record.workspace)
    except InterlockError as error:
        wait = await while_unsettled(engine, record.workspace, str(record.key), error)
        if wait is not None:
            raise wait from error
    await engine.call(engine.recover_applying, record)
    return await engine.look(record.key)
