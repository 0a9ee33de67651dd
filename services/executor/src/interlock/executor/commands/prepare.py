"""Compute a step's effect in isolation, and record it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from interlock.common import logs
from interlock.common.digests import canonical_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.caller import BY_HAND, Caller, require_same
from interlock.executor.domain.digest import (
    Document,
    StreamFacts,
    Surroundings,
    effect_digest,
    effect_document,
    request_digest,
    request_document,
)
from interlock.executor.domain.model import (
    EditFile,
    EffectKey,
    EffectState,
    ReadFile,
    RunCommand,
    StepRequest,
)
from interlock.executor.effects.inflight import reused
from interlock.executor.effects.store import Record
from interlock.executor.engine import Engine
from interlock.executor.sandbox.base import OutputSink
from interlock.executor.sandbox.environment import environment
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.secrets.opened import NONE
from interlock.executor.secrets.screen import Screen
from interlock.executor.steps import edit_file, read_file, run_command
from interlock.executor.steps.base import FAILURES, Outcome, failure_of
from interlock.executor.steps.preview import preview
from interlock.executor.workspaces.model import Fork

_log = logs.get("executor.prepare")


async def prepare(
    engine: Engine, request: StepRequest, *, expected: str = "", caller: Caller = BY_HAND
) -> Record:
    """The effect of a step, computed now or recorded before.

    Args:
        expected: when given, the step is computed only if its request digest is this one.
        caller: with an `owner`, the effect is that owner's alone.

    Raises EPOCH_STALE, WORKSPACE_NOT_FOUND, EFFECT_DIGEST_MISMATCH, REQUEST_ID_REUSED (the key with another input),
    NETWORK_NOT_AVAILABLE, SECRET_NOT_FOUND, SECRET_UNUSABLE, SANDBOX_UNAVAILABLE, OUTCOME_UNKNOWN,
    EFFECT_DISCARDED (discarded meanwhile), EFFECT_NOT_OWNED (someone else's effect has the key).
    """
    await engine.fence(request.key.run, caller)
    await check(engine, request)

    async def work(cancel: asyncio.Event) -> Record:
        return await _Preparation(engine, request, expected, caller, cancel).run()

    record = await engine.inflight.join(request.key, "prepare", request.fingerprint(), work, caller)
    _check_expected(expected, record.request_digest or expected)
    return record


async def check(engine: Engine, request: StepRequest) -> None:
    """What can be refused without looking at the workspace."""
    if isinstance(request.action, RunCommand):
        run_command.spec_of(request)
        if request.action.network:
            await engine.try_network()
        run_command.grant_of(request.action, engine.network)


def surroundings(engine: Engine, request: StepRequest) -> Surroundings:
    """What of this executor decides the effect of a command."""
    if not isinstance(request.action, RunCommand):
        return Surroundings()
    spec = run_command.spec_of(request)
    policy = engine.sandbox.policy()
    if request.action.network:
        policy["network"] = engine.network.policy()
    return Surroundings(engine.sandbox.resolve_argv(spec), environment(spec.env), policy)


def _check_expected(expected: str, found: str) -> None:
    if expected and expected != found:
        raise InterlockError(
            Reason.EFFECT_DIGEST_MISMATCH,
            "What would run is not what was expected: the request digest differs.",
            field="expected_request_digest",
            fix="`interlock step retry RUN STEP` proposes the step again; have the new digest approved.",
            metadata={"expected": expected, "found": found},
        )


class _Preparation:
    """One computation of one key."""

    def __init__(
        self, engine: Engine, request: StepRequest, expected: str, caller: Caller, cancel: asyncio.Event
    ) -> None:
        self._engine, self._request, self._expected, self._cancel = engine, request, expected, cancel
        self._caller = caller
        self._secrets = NONE
        self._grant: Grant | None = None

    async def run(self) -> Record:
        found = await self._engine.look(self._request.key)
        if found is not None and (recorded := self._recorded(found)) is not None:
            return recorded
        if isinstance(self._request.action, RunCommand):
            return await self._command(self._request.action)
        return await self._engine.call(self._without_process)

    def _recorded(self, found: Record) -> Record | None:
        # Whatever is recorded, even a thrown away attempt, says something only to who had it recorded.
        require_same(found.owner, self._caller, found.key)
        if found.state is EffectState.DISCARDED and not found.fingerprint:
            return found  # discarded before it was asked for
        if found.fingerprint != self._request.fingerprint():
            raise reused(found.key)
        if found.state is not EffectState.PREPARING:
            return found
        if found.outside:
            raise InterlockError(
                Reason.OUTCOME_UNKNOWN,
                f"Step {found.key} was cut off and may have acted outside the workspace.",
                fix="Find out what it did, then `interlock step retry RUN STEP` or `interlock step skip RUN STEP`.",
            )
        return None

    def _without_process(self) -> Record:
        """read_file and edit_file; on a thread."""
        engine, request, action = self._engine, self._request, self._request.action
        base = look_for_base(engine, request.workspace)
        document = request_document(request, base, Surroundings())
        _check_expected(self._expected, request_digest(document))
        try:
            if isinstance(action, ReadFile):
                outcome = read_file.compute(engine.workspaces, request.workspace, base, action)
            else:
                assert isinstance(action, EditFile)
                outcome = edit_file.compute(engine.workspaces, request.workspace, base, action)
        except InterlockError as error:
            outcome = _failed(error, base)
        record = self._record(outcome, document)
        engine.store.put(record)
        return record

    async def _command(self, action: RunCommand) -> Record:
        engine, request = self._engine, self._request
        log = engine.hub.open(request.key)
        try:
            self._secrets = await engine.open_secrets(action)
            self._grant = run_command.grant_of(action, engine.network, self._secrets)
            async with self._slot(), engine.turns.fork(request.workspace):
                fork = await engine.call(engine.workspaces.fork, request.workspace)
                return await self._in_fork(fork, action, log)
        finally:
            engine.hub.close(request.key)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """One of the places for commands. Raises EFFECT_DISCARDED when the step is discarded while it waits."""
        commands = self._engine.commands
        place, cancelled = (
            asyncio.ensure_future(commands.acquire()),
            asyncio.ensure_future(self._cancel.wait()),
        )
        try:
            await asyncio.wait((place, cancelled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            if not place.done():
                place.cancel()
                await asyncio.wait((place,))
        if place.cancelled():
            raise _discarded(self._request.key)
        try:
            yield
        finally:
            commands.release()

    async def _in_fork(self, fork: Fork, action: RunCommand, log: OutputSink) -> Record:
        engine, request = self._engine, self._request
        kept = False
        try:
            document = request_document(request, fork.base_tree, surroundings(engine, request))
            _check_expected(self._expected, request_digest(document))
            await engine.call(engine.store.put, self._begun())
            outcome = await self._run(fork, action, log)
            if self._cancel.is_set():
                raise _discarded(request.key)
            record = await engine.call(self._record, outcome, document)
            await engine.call(engine.store.put, record)
            self._say(record, outcome)
            if record.state is EffectState.PREPARED and record.changes:
                kept = True
                await engine.keep_fork(request.key, fork)
            return record
        except InterlockError as error:
            if self._grant is None or not self._grant.used:
                await engine.note_if_possible(engine.store.forget, request.key)
                raise self._secrets.error(error) from None
            raise self._unknown(error) from None
        finally:
            if not kept:
                await engine.finish(asyncio.ensure_future(engine.call(engine.workspaces.discard, fork)))

    async def _run(self, fork: Fork, action: RunCommand, log: OutputSink) -> Outcome:
        engine, request = self._engine, self._request
        try:
            live = (await engine.call(engine.workspaces.get, fork.workspace)).live
            result = await run_command.run(
                engine.sandbox, request, fork, live, self._secrets, self._grant, log, self._cancel
            )
        except InterlockError as error:
            return _failed(self._secrets.error(error), fork.base_tree)
        outcome = run_command.outcome_of(result, action, fork.base_tree)
        return await engine.call(self._capture, fork, outcome) if run_command.publishable(result) else outcome

    def _capture(self, fork: Fork, outcome: Outcome) -> Outcome:
        workspaces, secrets = self._engine.workspaces, self._secrets
        try:
            captured = workspaces.capture(fork, screen=Screen(secrets) if secrets else None)
            diff = preview(workspaces, fork.workspace, fork.base_tree, captured.result_tree)
        except InterlockError as error:
            if error.reason not in FAILURES:
                raise
            return replace(outcome, failure=outcome.failure or failure_of(secrets.error(error)))
        return replace(
            outcome, result_tree=captured.result_tree, diff=None if diff is None else secrets.diff(diff)
        )

    def _unknown(self, error: InterlockError) -> InterlockError:
        """The record stays as it was when the command began: it may have acted outside, and does so only once."""
        if error.reason is Reason.EFFECT_DISCARDED:
            return error
        why = self._secrets.error(error).message
        return InterlockError(
            Reason.OUTCOME_UNKNOWN,
            f"The command ran with network, and what came of it could not be kept: {why}",
            fix="Find out what it did outside the workspace; nothing of it is published. Then `interlock step retry "
            "RUN STEP` or `interlock step skip RUN STEP`.",
        )

    def _say(self, record: Record, outcome: Outcome) -> None:
        usage = outcome.usage
        _log.info(
            "command ended",
            state=record.state.value,
            exit_code=outcome.exit_code,
            failure=outcome.failure.reason if outcome.failure else "",
            wall_ms=usage.wall_us // 1000 if usage else 0,
        )

    def _begun(self) -> Record:
        request = self._request
        return Record(
            key=request.key,
            workspace=request.workspace,
            fingerprint=request.fingerprint(),
            state=EffectState.PREPARING,
            at=self._engine.now(),
            approved_request=self._expected,
            owner=self._caller.owner,
            outside=self._grant is not None,
        )

    def _record(self, outcome: Outcome, document: Document) -> Record:
        asked = request_digest(document)
        effect = effect_document(
            asked,
            result_tree=outcome.result_tree,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            streams={name: StreamFacts(item.digest, item.total) for name, item in outcome.streams.items()},
            failure=outcome.failure.reason if outcome.failure else "",
        )
        digest = effect_digest(effect)
        return replace(
            self._begun(),
            state=EffectState.FAILED if outcome.failure else EffectState.PREPARED,
            base_tree=outcome.base_tree,
            result_tree=outcome.result_tree,
            request_document=canonical_json(document),
            effect_document=canonical_json(effect),
            request_digest=asked,
            effect_digest=digest,
            payload=self._engine.rendered.prepare(outcome, asked, digest, self._request.limits),
        )


def look_for_base(engine: Engine, workspace: str) -> str:
    """The head, after looking for others' changes; as it is while a fork is running. Blocks."""
    try:
        engine.workspaces.look_for_drift(workspace)
    except InterlockError as error:
        if error.reason is not Reason.WORKSPACE_BUSY:
            raise
    return engine.workspaces.get(workspace).head


def _failed(error: InterlockError, base_tree: str) -> Outcome:
    if error.reason not in FAILURES:
        raise error
    return Outcome(base_tree, base_tree, failure=failure_of(error))


def _discarded(key: EffectKey) -> InterlockError:
    return InterlockError(Reason.EFFECT_DISCARDED, f"Step {key} was discarded while it was being computed.")
