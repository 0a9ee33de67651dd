"""Executing and following runs: what `interlock run exec`, `watch` and `wait` do."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field, replace

from interlock.cli.beginnings import find_run
from interlock.cli.errors import TIMEOUT
from interlock.cli.follow.ask import Terminal
from interlock.cli.follow.decide import Approve, Gatekeeper
from interlock.cli.follow.follow import follow
from interlock.cli.follow.reporter import PlainReporter, Reporter
from interlock.cli.output import message_dict, progress, write_json
from interlock.cli.session import connect, stops_with_commands
from interlock.cli.settings import Settings
from interlock.cli.show.runs import run_exit_code, show_run
from interlock.cli.values import bad_value, parse_duration, parse_labels, read_document
from interlock.client import Client, Plan, parse_plan, run_request
from interlock.common.errors import InterlockError
from interlock.v1.run_pb2 import Run, RunState

_QUIET_SECONDS = 2.0
_NEEDS_PERSON = frozenset({RunState.RUN_STATE_AWAITING_APPROVAL, RunState.RUN_STATE_PAUSED})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run to be made: on a workspace, from a plan or towards a goal."""

    workspace: str
    goal: str
    plan: Plan | None = None
    labels: dict[str, str] = field(default_factory=dict)
    wait: bool = False
    replay_from: str = ""
    few: int = 0
    most: int = 0

    @classmethod
    def read(
        cls,
        workspace: str,
        plan: str,
        goal: str,
        labels: list[str] | None,
        *,
        wait: bool = False,
        replay_from: str = "",
        few: int = 0,
        most: int = 0,
    ) -> Wanted:
        """From the options; the plan file is read and checked before anything is started.

        `few`: how many steps the model decides on at a time, until there are `most`.
        """
        if (few and plan) or (most and not few):
            raise bad_value(
                "steps_at_a_time",
                "A plan file has all its steps; only towards a goal are they decided a few at a time.",
                "Give --goal and --steps-at-a-time, or a plan alone.",
            )
        if bool(plan) == bool(goal):
            raise bad_value("plan", "Give either --plan or --goal.", "A plan file carries its goal.")
        given = parse_labels(labels)
        if not plan:
            return cls(workspace, goal, None, given, wait, replay_from, few, most)
        parsed = parse_plan(read_document(plan, "plan"), for_run=True)
        merged = replace(parsed, labels={**parsed.labels, **given})
        return cls(workspace, parsed.goal, merged, wait=wait, replay_from=replay_from)


async def begin(client: Client, wanted: Wanted) -> Run:
    """Make the workspace and the run, and start it, or have it wait in line.

    A run of a plan is made and started in one call: where it cannot start, there is none. One that the model has
    planned stays, because planning costs, and may be started later.
    """
    workspace_id = wanted.workspace
    if not (workspace_id.startswith("ws-") and "/" not in workspace_id):
        workspace_id = await _opened(client, wanted.workspace)
    if wanted.plan is not None:
        request = run_request(wanted.plan, workspace_id, start=True, wait_for_workspace=wanted.wait)
        request.request_id = client.request_id()
        request.replay_from = await _source(client, wanted)
        return _told((await client.call(client.orchestrator.CreateRun, request)).run)
    return await _started(client, await _planned(client, wanted, workspace_id), wait=wanted.wait)


async def _planned(client: Client, wanted: Wanted, workspace_id: str) -> Run:
    source = await _source(client, wanted)
    run = await client.create_run(
        wanted.goal,
        workspace_id,
        labels=wanted.labels,
        replay_from=source,
        steps_at_a_time=wanted.few,
        max_steps=wanted.most,
    )
    notice = (await client.planner_capabilities()).notice
    progress(f"Planning … {notice}".rstrip())
    try:
        return await client.plan_run(run.run_id)
    except InterlockError:
        progress(f"{run.run_id} is made but has no plan: `interlock step add` gives it one.")
        raise


async def _source(client: Client, wanted: Wanted) -> str:
    """The whole id of the run whose replies are to be used, if there is to be one."""
    return await find_run(client, wanted.replay_from) if wanted.replay_from else ""


async def _opened(client: Client, directory: str) -> str:
    """The directory as a workspace; says so when that takes a while, because everything in it is copied once."""
    opening = asyncio.ensure_future(client.open_directory(directory))
    try:
        if not (await asyncio.wait({opening}, timeout=_QUIET_SECONDS))[0]:
            progress(f"Importing {directory}: everything in it is read and copied once …")
        return (await opening).workspace_id
    finally:
        opening.cancel()


async def _started(client: Client, run: Run, *, wait: bool) -> Run:
    try:
        return _told(await client.start_run(run.run_id, wait_for_workspace=wait))
    except InterlockError:
        progress(
            f"{run.run_id} is planned but not started: `interlock run start {run.run_id}` tries again, "
            f"`interlock run cancel {run.run_id}` drops it."
        )
        raise


def _told(run: Run) -> Run:
    """The run; says so when it waits in line."""
    if run.HasField("waiting"):
        progress(f"{run.run_id} waits for its workspace: {run.waiting.holder_run_id} has it.")
    return run


async def execute_run(settings: Settings, wanted: Wanted, approve: str, within: str) -> int:
    """Create, start and follow a run; returns the exit code."""
    mode, seconds = _mode(approve), parse_duration(within, "timeout")
    async with connect(settings) as client:
        run = await client.get_run((await begin(client, wanted)).run_id)
        reporter = _reporter()
        keeper = Gatekeeper(client, mode, Terminal() if settings.may_ask else None, reporter)
        return await _followed(settings, client, run, keeper, reporter, seconds)


async def watch_run(settings: Settings, run_id: str, within: str, *, interactive: bool = False) -> int:
    """Follow a run that exists: without deciding anything, or asking at its gates as `run exec` does."""
    seconds = parse_duration(within, "timeout")
    if interactive and not settings.may_ask:
        raise bad_value(
            "interactive",
            "There is no terminal to ask on, or --no-input forbids it.",
            "Leave --interactive out, and decide with `interlock approvals approve` or `reject`.",
        )
    async with connect(settings) as client:
        run, reporter = await client.get_run(await find_run(client, run_id)), _reporter()
        keeper = Gatekeeper(client, Approve.ASK, Terminal(), reporter) if interactive else None
        return await _followed(settings, client, run, keeper, reporter, seconds)


async def _followed(
    settings: Settings,
    client: Client,
    run: Run,
    keeper: Gatekeeper | None,
    reporter: Reporter,
    seconds: float | None,
) -> int:
    try:
        async with asyncio.timeout(seconds):
            run = await follow(client, run, keeper, reporter)
    except TimeoutError:
        return _timed_out(settings, run.run_id)
    except asyncio.CancelledError:
        progress(
            f"No longer following; {_goes_on(settings, run.run_id)}. `interlock run cancel {run.run_id}` ends it."
        )
        raise
    show_run(settings, run)
    return run_exit_code(run)


async def print_messages(settings: Settings, run_id: str, cursor: str, within: str) -> int:
    """The stream of a run as JSON documents one after another; returns the run's exit code at its end."""
    seconds = parse_duration(within, "timeout")
    async with connect(settings) as client:
        run_id = await find_run(client, run_id)
        try:
            async with asyncio.timeout(seconds):
                async for message in client.watch_run(run_id, cursor=cursor):
                    write_json(message_dict(message), settings.output)
        except TimeoutError:
            return _timed_out(settings, run_id)
        return run_exit_code(await client.get_run(run_id))


async def wait_run(settings: Settings, run_id: str, within: str) -> int:
    """Until the run has ended or needs a person; prints it and returns its exit code."""
    seconds = parse_duration(within, "timeout")
    async with connect(settings) as client:
        run_id = await find_run(client, run_id)
        try:
            async with asyncio.timeout(seconds):
                async for message in client.watch_run(run_id, without_output=True):
                    if message.run.state in _NEEDS_PERSON and await _needs_person(client, run_id):
                        break
        except TimeoutError:
            return _timed_out(settings, run_id)
        run = await client.get_run(run_id)
        show_run(settings, run)
        return run_exit_code(run)


async def _needs_person(client: Client, run_id: str) -> bool:
    """Whether it does now, and not only did when the event was written."""
    return (await client.get_run(run_id, without_steps=True)).state in _NEEDS_PERSON


def _goes_on(settings: Settings, run_id: str) -> str:
    """What becomes of a run that is not over when the command is."""
    if stops_with_commands(settings):
        return (
            f"{run_id} stops here with the services, which were started for the time of the command; "
            "the next interlock command, or `interlock up`, goes on with it"
        )
    return f"{run_id} goes on"


def _timed_out(settings: Settings, run_id: str) -> int:
    progress(f"Time is up; {_goes_on(settings, run_id)}. `interlock run watch {run_id}` follows it again.")
    return TIMEOUT


def _mode(approve: str) -> Approve:
    try:
        return Approve(approve)
    except ValueError:
        raise bad_value(
            "approve", f"{approve[:40]!r} is not a way to approve.", "Use ask, all or none."
        ) from None


def _reporter() -> Reporter:
    """The live view on a terminal that can draw, else one line per change."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from interlock.cli.follow.live import LiveReporter

        return LiveReporter()
    return PlainReporter()
