"""run_command: run in the sandbox on a fork of the head, capture what it changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from interlock.common.errors import Reason
from interlock.executor.domain.limits import DEFAULT_LIMITS
from interlock.executor.domain.model import Failure, RunCommand, StepRequest
from interlock.executor.sandbox import base as sandbox
from interlock.executor.sandbox.base import Ending, Exceeded, OutputSink, Sandbox, SandboxResult, SandboxSpec
from interlock.executor.sandbox.environment import check_spec
from interlock.executor.sandbox.network.config import ENVIRONMENT, NetworkConfig
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.secrets.opened import NONE, Opened, check_uses
from interlock.executor.steps.base import Outcome
from interlock.executor.workspaces.model import Fork


def spec_of(
    request: StepRequest,
    fork: Fork | None = None,
    live: Path | None = None,
    secrets: Opened = NONE,
    grant: Grant | None = None,
) -> SandboxSpec:
    """What the sandbox is asked for. Raises INVALID_ARGUMENT, PATH_OUTSIDE_WORKSPACE."""
    action = request.action
    assert isinstance(action, RunCommand)
    check_uses(action)
    spec = SandboxSpec(
        argv=action.argv,
        command=action.command,
        working_dir=action.working_dir,
        env={**(ENVIRONMENT if action.network else {}), **action.env, **secrets.variables()},
        limits=request.limits or DEFAULT_LIMITS,
        fork=None if fork is None else _mounted(fork, live),
        files=secrets.files(),
        redact=secrets.redactor if secrets else None,
        network=grant,
    )
    check_spec(spec)
    return spec


def grant_of(action: RunCommand, network: NetworkConfig, secrets: Opened = NONE) -> Grant | None:
    """Leave for what the command asks for; None when it asks for nothing.

    Raises NETWORK_NOT_AVAILABLE, INVALID_ARGUMENT.
    """
    if not action.network:
        return None
    return Grant(network.rules(action.network), secrets.host)


def _mounted(fork: Fork, live: Path | None) -> sandbox.Fork:
    lower = (fork.lower,) if fork.mode == "overlay" else ()
    return sandbox.Fork(lower, fork.upper, fork.work, str(live or ""), fork.held)


async def run(
    confined: Sandbox,
    request: StepRequest,
    fork: Fork,
    live: Path,
    secrets: Opened,
    grant: Grant | None,
    sink: OutputSink,
    cancel: asyncio.Event,
) -> SandboxResult:
    """Run to the end; `live` is the workspace's directory.

    Raises COMMAND_NOT_FOUND, PATH_NOT_FOUND (working directory), SANDBOX_UNAVAILABLE.
    """
    return await confined.run(spec_of(request, fork, live, secrets, grant), sink=sink, cancel=cancel)


def publishable(result: SandboxResult) -> bool:
    """Whether what it changed is worth capturing: it came to an end of its own."""
    return result.ending is Ending.EXITED


def outcome_of(result: SandboxResult, action: RunCommand, base_tree: str) -> Outcome:
    """Everything but the result tree and its difference."""
    return Outcome(
        base_tree=base_tree,
        result_tree=base_tree,
        argv=result.argv,
        sandbox=result.tier,
        streams={"stdout": result.stdout, "stderr": result.stderr},
        exit_code=result.exit_code,
        signal=result.signal,
        usage=result.usage,
        failure=_failure(result, action),
        network=result.network,
    )


def _passed(found: Exceeded) -> str:
    """The limit and what was measured, in units people read."""
    if found.limit == "wall_us":
        return f"The command ran longer than the {found.allowed / 1e6:g} s it may."
    if found.limit == "cpu_us":
        return f"The command used {found.measured / 1e6:g} s of processor time and may use {found.allowed / 1e6:g} s."
    name = found.limit.replace("_", " ")
    return f"The command passed its limit of {found.allowed:,} {name}: {found.measured:,} was measured."


def _as_shells(code: int | None) -> str:
    """What a shell means by a code of 128 + n."""
    number = (code or 0) - 128
    if not 0 < number <= 64:
        return ""
    return f" (a shell exits with this when a program that it ran was ended by signal {number})"


def _failure(result: SandboxResult, action: RunCommand) -> Failure | None:
    if result.ending in (Ending.TIMED_OUT, Ending.LIMIT) and result.exceeded is not None:
        found = result.exceeded
        reason = (
            Reason.COMMAND_TIMED_OUT if result.ending is Ending.TIMED_OUT else Reason.COMMAND_LIMIT_EXCEEDED
        )
        return Failure(
            reason.value,
            _passed(found),
            field=f"limits.{found.limit}",
            fix="Make the command smaller, then `interlock step retry RUN STEP`; or add a step that asks for a "
            "higher limit (`timeout` for its time).",
            metadata={
                "limit": found.limit,
                "allowed": str(found.allowed),
                "measured": str(found.measured),
                "enforced_by": result.enforced.get(found.limit, ""),
            },
        )
    if result.ending is Ending.SIGNALED:
        return Failure(
            Reason.COMMAND_FAILED.value,
            f"The command was ended by signal {result.signal}.",
            fix="`interlock step show RUN STEP` has its output.",
            metadata={"signal": str(result.signal)},
        )
    if result.exit_code in (0, *action.allowed_exit_codes):
        return None
    return Failure(
        Reason.COMMAND_FAILED.value,
        f"The command exited with {result.exit_code}.",
        fix=f"`interlock step show RUN STEP` has its output{_as_shells(result.exit_code)}; name the code in "
        "`allowed_exit_codes` if it is no failure.",
        metadata={"exit_code": str(result.exit_code)},
    )
