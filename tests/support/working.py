"""What the end-to-end tests do with the SDK: make runs, wait for what they wait for, decide."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.installation import SECONDS

from interlock.client import FINAL_RUN_STATES, Client, InterlockError, parse_plan, run_request
from interlock.client.retry import may_repeat
from interlock.v1.approval_pb2 import ApprovalFilter
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import StepState


async def start(client: Client, directory: Path, *steps: str, head: str = "", **options: Any) -> Run:
    """A started run of these steps (YAML) over a directory."""
    workspace = await client.open_directory(directory)
    listed = "".join(f"  - {step}\n" for step in steps)
    plan = parse_plan(f"goal: end to end\n{head}\nsteps:\n{listed}")
    request = run_request(plan, workspace.workspace_id)
    return await client.create_run(
        request.goal,
        request.workspace_id,
        request.steps,
        policy=request.policy if request.HasField("policy") else None,
        budget=request.budget if request.HasField("budget") else None,
        start=options.pop("start", True),
        **options,
    )


async def pending(client: Client, run: Run, seconds: float = SECONDS) -> Any:
    """The approval the run waits for, with its preview."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                found = await client.list_approvals(matching=ApprovalFilter(run_id=run.run_id))
                if found:
                    return await client.get_approval(found[0].approval_id)
                now = await client.get_run(run.run_id)
            except InterlockError as error:
                if not may_repeat(error):
                    raise
            else:
                assert now.state not in FINAL_RUN_STATES, now
            await asyncio.sleep(0.05)


async def approve(client: Client, run: Run) -> Any:
    """Approve what the run waits for; returns what was shown."""
    shown = await pending(client, run)
    await client.decide(shown, "approve")
    return shown


async def ended(client: Client, run: Run, seconds: float = SECONDS) -> Run:
    """The run, once it has ended."""
    async with asyncio.timeout(seconds):
        return await client.wait_run(run.run_id)


async def until(client: Client, run: Run, state: str, step: int = 1, seconds: float = SECONDS) -> Run:
    """The run, once one of its steps is in a state."""
    wanted = StepState.Value(f"STEP_STATE_{state}")
    async with asyncio.timeout(seconds):
        while True:
            found = await client.get_run(run.run_id)
            if found.steps[step - 1].state == wanted:
                return found
            await asyncio.sleep(0.02)


def state(run: Run) -> str:
    """A run's state without its prefix."""
    return RunState.Name(run.state).removeprefix("RUN_STATE_")


def states(run: Run) -> list[str]:
    """The states of its steps without their prefix."""
    return [StepState.Name(step.state).removeprefix("STEP_STATE_") for step in run.steps]


async def events(client: Client, run: Run) -> list[str]:
    """The types of its events, in order."""
    return [event.type async for event in client.list_events(run.run_id)]
