"""Say what would run, without running anything."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.executor.commands.prepare import check, look_for_base, surroundings
from interlock.executor.domain.caller import BY_HAND, Caller
from interlock.executor.domain.digest import request_digest, request_document
from interlock.executor.domain.model import RunCommand, StepRequest
from interlock.executor.engine import Engine
from interlock.executor.files.names import split_path
from interlock.executor.sandbox.base import TierReport
from interlock.executor.steps.base import NO_PROCESS


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a COMMAND gate shows and binds."""

    base_tree: str
    argv: tuple[str, ...]
    sandbox: TierReport
    request_digest: str


async def propose(engine: Engine, request: StepRequest, *, caller: Caller = BY_HAND) -> Proposal:
    """Raises EPOCH_STALE, EFFECT_NOT_OWNED, WORKSPACE_NOT_FOUND, NETWORK_NOT_AVAILABLE, PATH_OUTSIDE_WORKSPACE,
    INVALID_ARGUMENT, SECRET_NOT_FOUND, SECRET_UNUSABLE.
    """
    await engine.fence(request.key.run, caller)
    await check(engine, request)
    if not isinstance(request.action, RunCommand):
        split_path(request.action.path)
    else:
        await engine.open_secrets(request.action)
    base = await engine.call(look_for_base, engine, request.workspace)
    around = surroundings(engine, request)
    sandbox = engine.sandbox.tier if isinstance(request.action, RunCommand) else NO_PROCESS
    return Proposal(base, around.argv, sandbox, request_digest(request_document(request, base, around)))
