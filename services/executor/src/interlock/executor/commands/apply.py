"""Publish a prepared effect: exactly what was recorded, and only with its digest."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import replace

from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.unsettled import while_unsettled
from interlock.executor.domain.caller import BY_HAND, Caller, require_owner
from interlock.executor.domain.digest import Document, effect_digest, request_digest
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.store import Record
from interlock.executor.engine import Engine
from interlock.executor.workspaces.model import PublishResult
from interlock.executor.workspaces.register import KEPT_PATHS


async def apply(
    engine: Engine,
    key: EffectKey,
    *,
    effect: str,
    approved: str,
    approval: str = "",
    caller: Caller = BY_HAND,
) -> Record:
    """Make the effect the workspace's head; a repeated call returns the first result.

    Args:
        effect: digest of the effect to publish.
        approved: digest the decision was bound to: the effect's or the request's.
        approval: the approval's id, for the record.

    Raises EPOCH_STALE, EFFECT_NOT_OWNED, EFFECT_NOT_FOUND, EFFECT_DISCARDED, EFFECT_NOT_PUBLISHABLE (it failed),
    EFFECT_DIGEST_MISMATCH, EFFECT_TAMPERED, WORKSPACE_HEAD_MOVED, WORKSPACE_DRIFTED, WORKSPACE_BUSY; UNAVAILABLE while
    the publication has begun and is neither finished nor taken back.
    """
    await engine.fence(key.run, caller)
    await engine.inflight.settle(key)
    record = await _found(engine, key)
    require_owner(record.owner, caller, key)
    _check_digests(record, effect, approved)

    async def work(_: asyncio.Event) -> Record:
        return await _apply(engine, key, approval, caller)

    return await engine.inflight.join(key, "apply", effect, work, replace(caller, owner=record.owner))


async def _apply(engine: Engine, key: EffectKey, approval: str, caller: Caller) -> Record:
    record = await _found(engine, key)
    require_owner(record.owner, caller, key)
    if record.state is EffectState.APPLIED:
        return record
    _check_state(record)
    if not record.changes:
        head = (await engine.call(engine.workspaces.get, record.workspace)).head
        return await _applied(engine, record, approval, PublishResult(head, "published"))
    async with engine.turns.publish(record.workspace):
        # Waiting may have been long: another driver can have come.
        await engine.fence(key.run, caller)
        if (
            record.state is not EffectState.APPLYING
        ):  # else it has begun: nothing here may end in a final error
            begun = replace(record, state=EffectState.APPLYING, approval=approval)
            await engine.call(engine.store.put, begun)
        # From here to the record of its end, a cancelled task must not leave the two apart.
        return await engine.finish(asyncio.ensure_future(_publish(engine, record, approval)))


async def _publish(engine: Engine, record: Record, approval: str) -> Record:
    try:
        result = await engine.call(_publish_blocking, engine, record)
    except (InterlockError, OSError, sqlite3.Error) as error:
        wait = await while_unsettled(engine, record.workspace, str(record.key), error)
        if wait is not None:
            raise wait from error
        undone = replace(record, state=EffectState.PREPARED, approval="")
        await engine.note_if_possible(engine.store.put, undone)
        raise
    return await _applied(engine, record, approval, result)


def _publish_blocking(engine: Engine, record: Record) -> PublishResult:
    return engine.workspaces.publish(
        record.workspace,
        record.base_tree,
        record.result_tree,
        fork=engine.fork_of(record.key),
        key=str(record.key),
        wait=5.0,
    )


async def _applied(engine: Engine, record: Record, approval: str, result: PublishResult) -> Record:
    done = replace(
        record,
        state=EffectState.APPLIED,
        approval=approval,
        head_tree=result.head_tree,
        merged=record.changes and result.head_tree != record.result_tree,
        applied_at=engine.now(),
        kept=result.kept[:KEPT_PATHS],
        kept_count=result.kept_count,
    )
    await engine.note(engine.store.put, done)
    await engine.drop_fork(record.key)
    return done


async def _found(engine: Engine, key: EffectKey) -> Record:
    record = await engine.look(key)
    if record is None or record.state is EffectState.PREPARING:
        raise InterlockError(
            Reason.EFFECT_NOT_FOUND, f"There is no prepared effect of step {key}.", field="key"
        )
    return record


def _check_state(record: Record) -> None:
    if record.state is EffectState.DISCARDED:
        raise InterlockError(
            Reason.EFFECT_DISCARDED, f"The effect of step {record.key} was discarded.", field="key"
        )
    if record.state is EffectState.FAILED:
        raise InterlockError(
            Reason.EFFECT_NOT_PUBLISHABLE,
            f"Step {record.key} failed; there is nothing to publish.",
            field="key",
        )


def _check_digests(record: Record, effect: str, approved: str) -> None:
    if record.state is EffectState.DISCARDED:
        _check_state(record)
    _check_record(record)
    if effect != record.effect_digest:
        raise _mismatch("effect_digest", effect, record.effect_digest)
    # Only what was approved before it ran may be published on the strength of its request.
    if approved != record.effect_digest and approved != (record.approved_request or record.effect_digest):
        raise _mismatch("approved_digest", approved, record.effect_digest)


def _check_record(record: Record) -> None:
    """Compute the digests again from what is recorded, and see that what will be published is what they are of."""
    if not _sound(record):
        raise InterlockError(
            Reason.EFFECT_TAMPERED,
            f"The record of step {record.key} is not what its digest was made of.",
            fix="Find out who wrote to the executor's directory; then `interlock step retry RUN STEP`.",
        )


def _sound(record: Record) -> bool:
    try:
        asked: Document = json.loads(record.request_document)
        effect: Document = json.loads(record.effect_document)
        return (
            request_digest(asked) == record.request_digest == effect["request"]
            and effect_digest(effect) == record.effect_digest
            and asked["base_tree"] == record.base_tree
            and effect["result_tree"] == record.result_tree
            and asked["workspace"] == record.workspace
        )
    except (ValueError, KeyError, TypeError, InterlockError):
        return False


def _mismatch(field: str, given: str, known: str) -> InterlockError:
    return InterlockError(
        Reason.EFFECT_DIGEST_MISMATCH,
        "The digest given is not that of the effect that was prepared.",
        field=field,
        fix="Look at the effect as it is now (`interlock approvals show RUN`), and have its digest approved.",
        metadata={"given": given, "prepared": known},
    )
