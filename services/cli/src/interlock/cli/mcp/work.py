"""What an agent does through the server: each read, edit and command is a step of a run, journaled and gated."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.cli.mcp.answers import (
    ENDED,
    WAITING,
    Answer,
    approval_answer,
    cut,
    error_of,
    run_answer,
    step_answer,
)
from interlock.cli.values import find_workspace
from interlock.client import FINAL_RUN_STATES, Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.approval_pb2 import ApprovalFilter
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import OnFailure, StepInput, StepSpec
from interlock.v1.workspace_pb2 import FileType, Workspace

LABEL = {"opened-by": "mcp"}
MOST_FILES = 1_000
MOST_ROWS = 100
_FIRST_LOOK, _LAST_LOOK = 0.1, 1.0


class AgentWork:
    """The tools' use cases over one client; only runs that this caller opened are touched.

    `allowed`: the only workspaces (ids or directories) that may be opened; empty = whichever the token reaches.
    """

    def __init__(self, client: Client, allowed: Sequence[str] = ()) -> None:
        self._client = client
        self._allowed = tuple(allowed)
        self._subject = ""
        self._current = ""
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """No longer wait for steps; they go on."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def list_workspaces(self, given: Mapping[str, Any]) -> Answer:
        """Workspaces that may be opened."""
        found: list[Answer] = []
        more = False
        async for each in self._client.list_workspaces():
            if not self._may_open(each):
                continue
            if len(found) == MOST_ROWS:
                more = True
                break
            found.append({"workspace_id": each.workspace_id, "path": each.path})
        return {"workspaces": found, "more": more}

    async def open_run(self, given: Mapping[str, Any]) -> Answer:
        """A new run without steps on a workspace; it becomes the current one."""
        workspace = await self._workspace(str(given["workspace"]))
        run = await self._client.create_run(given["goal"], workspace.workspace_id, labels=LABEL)
        self._current = run.run_id
        return run_answer(run) | {"path": workspace.path}

    async def list_files(self, given: Mapping[str, Any]) -> Answer:
        """Names and sizes of the workspace's files as it is now."""
        run = await self._run(given)
        files: list[Answer] = []
        total = 0
        async for entry in self._client.list_files(run.workspace_id, path=given.get("path", "")):
            if entry.type != FileType.FILE_TYPE_REGULAR:
                continue
            total += 1
            if len(files) < MOST_FILES:
                files.append({"path": entry.path, "size": entry.size})
        return {"files": files, "total": total, "more": total > len(files)}

    async def add_step(self, given: Mapping[str, Any], chosen: StepInput) -> Answer:
        """Add one step, begin it, and wait a while for it to end or to ask.

        Raises RUN_WRONG_STATE while another step of the run is under way or waits for a decision.
        """
        async with self._one_at_a_time:
            run = await self._run(given)
            await self._require_rest(run)
            # A failed command is a result that the agent goes on from; only a refusal ends the run.
            spec = StepSpec(
                input=chosen, name=given.get("name", ""), on_failure=OnFailure.ON_FAILURE_CONTINUE
            )
            added = await self._client.add_steps(run.run_id, [spec])
            begun = asyncio.ensure_future(self._client.execute_next_step(run.run_id))
            self._under_way.add(begun)
            begun.add_done_callback(self._under_way.discard)
            return await self._settled(
                run.run_id, added.first_step, float(given.get("wait_seconds", 30)), begun
            )

    async def step_result(self, given: Mapping[str, Any]) -> Answer:
        """What became of a step; waits a while for one that has not ended."""
        run = await self._run(given)
        return await self._settled(run.run_id, int(given["step"]), float(given.get("wait_seconds", 0)))

    async def run_status(self, given: Mapping[str, Any]) -> Answer:
        """The run with its steps."""
        return run_answer(await self._run(given, with_steps=True))

    async def pending_approvals(self, given: Mapping[str, Any]) -> Answer:
        """Open questions of the caller's runs: read only, there is no way to answer one here."""
        only = given.get("run_id", "")
        if only:
            await self._run(given)
        subject = await self._me()
        mine: dict[str, bool] = {}
        found = []
        for each in await self._client.list_approvals(matching=ApprovalFilter(run_id=only), limit=500):
            if each.run_id not in mine:
                run = await self._client.get_run(each.run_id, without_steps=True)
                mine[each.run_id] = run.created_by == subject
            if mine[each.run_id]:
                found.append(approval_answer(each))
        return {"approvals": found[:MOST_ROWS], "more": len(found) > MOST_ROWS}

    async def request_undo(self, given: Mapping[str, Any]) -> Answer:
        """What taking a step out of the workspace would change, and how a person does it. Changes nothing."""
        run, step = await self._run(given), int(given["step"])
        answer: Answer = {
            "run_id": run.run_id,
            "step": step,
            "decided_by": "A person takes it out, outside of this server: "
            f"`interlock step revert {run.run_id} {step} --comment …`. Nothing has been changed.",
        }
        try:
            would = await self._client.revert_step(run.run_id, step, validate_only=True)
        except InterlockError as error:
            return answer | {"possible": False} | error_of(error)
        return answer | {
            "possible": True,
            "changes": [each.path for each in would.changes[:MOST_ROWS]],
            "changes_total": would.changes_total,
            "diff": cut(would.diff),
        }

    async def finish_run(self, given: Mapping[str, Any]) -> Answer:
        """End the run as completed; what was published stays."""
        async with self._one_at_a_time:
            run = await self._run(given)
            if run.state in FINAL_RUN_STATES:
                return run_answer(run)
            await self._require_rest(run)
            if run.state == RunState.RUN_STATE_CREATED:
                return run_answer(await self._client.cancel_run(run.run_id, "nothing was done"))
            await self._client.execute_next_step(run.run_id)
            return run_answer(await self._client.get_run(run.run_id))

    async def cancel_run(self, given: Mapping[str, Any]) -> Answer:
        """End the run now; a step under way is stopped."""
        run = await self._run(given)
        if run.state not in FINAL_RUN_STATES:
            await self._client.cancel_run(run.run_id, given.get("comment", ""))
        return run_answer(await self._client.get_run(run.run_id))

    async def _settled(
        self, run_id: str, number: int, seconds: float, begun: asyncio.Future[Any] | None = None
    ) -> Answer:
        """The step once it rests, or as it is when the time is up. Raises why it could not be begun."""
        end = asyncio.get_running_loop().time() + seconds
        for delay in itertools.chain((_FIRST_LOOK, 0.2, 0.4), itertools.repeat(_LAST_LOOK)):
            if begun is not None and begun.done() and begun.exception() is not None:
                begun.result()
            step = await self._client.get_step(run_id, number)
            left = end - asyncio.get_running_loop().time()
            if step.state in ENDED | WAITING or left <= 0:
                return step_answer(step)
            if begun is not None and not begun.done():
                await asyncio.wait({begun}, timeout=min(delay, left))
            else:
                await asyncio.sleep(min(delay, left))
        raise AssertionError("the delays have no end")

    async def _workspace(self, text: str) -> Workspace:
        """The workspace that is meant. Raises PERMISSION_DENIED for one that this server was not given."""
        if text.startswith("ws-") and "/" not in text:
            found = await find_workspace(self._client, text)
        elif self._allowed and not any(_same(text, each) for each in self._allowed):
            raise _not_given(text)
        else:
            found = await self._client.open_directory(text)
        if not self._may_open(found):
            raise _not_given(text)
        return found

    def _may_open(self, workspace: Workspace) -> bool:
        if not self._allowed:
            return True
        return any(each == workspace.workspace_id or _same(each, workspace.path) for each in self._allowed)

    async def _run(self, given: Mapping[str, Any], *, with_steps: bool = False) -> Run:
        """The run that is meant, by default the one opened last; only the caller's own."""
        run_id = given.get("run_id") or self._current
        if not run_id:
            raise InterlockError(
                Reason.RUN_NOT_FOUND,
                "No run is open.",
                field="run_id",
                fix="Call open_run first.",
            )
        run = await self._client.get_run(run_id, without_steps=not with_steps)
        if run.created_by != await self._me():
            raise InterlockError(
                Reason.PERMISSION_DENIED,
                f"The run {run_id} is somebody else's.",
                field="run_id",
                fix="Call open_run to begin one of your own.",
            )
        return run

    async def _me(self) -> str:
        if not self._subject:
            self._subject = (await self._client.who_am_i()).subject
        return self._subject

    async def _require_rest(self, run: Run) -> None:
        if run.state in _RESTING:
            return
        waits = run.state == RunState.RUN_STATE_AWAITING_APPROVAL
        over = run.state in FINAL_RUN_STATES
        why = "waits for a person's decision" if waits else "is over" if over else "has a step under way"
        raise InterlockError(
            Reason.RUN_WRONG_STATE,
            f"The run {run.run_id} {why}.",
            field="run_id",
            fix="Call open_run to begin another one."
            if over
            else "Call step_result until its step has ended.",
            metadata={"run_id": run.run_id, "current": RunState.Name(run.state).removeprefix("RUN_STATE_")},
        )


_RESTING = frozenset({RunState.RUN_STATE_CREATED, RunState.RUN_STATE_PLANNED, RunState.RUN_STATE_PAUSED})


def _same(given: str, path: str) -> bool:
    """Whether both name one directory of this machine."""
    return Path(given).expanduser().resolve() == Path(path).expanduser().resolve()


def _not_given(text: str) -> InterlockError:
    return InterlockError(
        Reason.PERMISSION_DENIED,
        f"This server may not open {cut(text, 300)}.",
        field="workspace",
        fix="Open one that list_workspaces shows; the person who configures the server names them by --workspace.",
    )
