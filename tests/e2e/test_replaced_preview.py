"""A preview is replaced while somebody reads it: on the terminal, in the list of approvals, and in a subscription."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import subprocess
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.support.installation import INTERLOCK, SECONDS, Installation
from tests.support.working import ended, pending, start, state

from interlock.v1.approval_pb2 import ApprovalFilter
from interlock.v1.decision_pb2 import ApprovalEventKind, ApprovalState

pytestmark = pytest.mark.slow

KIND = ApprovalEventKind.Name
QUESTION = "[a]pprove"
PLAN = """\
goal: add a line
policy: {run_command_gate: effect}
steps:
  - {run_command: {command: "echo ours >> a; echo untouched > made"}}
"""
STEP = "{run_command: {command: 'echo ours >> a'}}"


class Person:
    """`interlock` on a terminal, as somebody sits at it."""

    def __init__(self, up: Installation, *arguments: str) -> None:
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*INTERLOCK, *arguments], env={**up.env, "TERM": "dumb", "NO_COLOR": "1"},
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def read_until(self, text: str) -> str:
        """What came up to and with the next `text`; what follows is kept for the next call."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self._terminal], [], [], 1)[0]:
                continue
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # the other end is closed
                data = b""
            assert data, self.seen
            self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace"))
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def say(self, line: str) -> None:
        os.write(self._terminal, line.encode() + b"\n")

    def end(self) -> int:
        """Its exit code."""
        while True:
            try:
                if not os.read(self._terminal, 65536):
                    break
            except OSError:
                break
        os.close(self._terminal)
        return self.process.wait(SECONDS)


def test_on_the_terminal(up: Installation, tmp_path: Path) -> None:
    project = up.project(a="a\n")
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    person = Person(up, "run", "exec", "--plan", str(plan), "--workspace", str(project))
    try:
        first = person.read_until(QUESTION)
        assert "+ours" in first
        assert "PREVIEW REPLACED" not in first
        (project / "a").write_text("theirs\n")
        person.say("a")
        second = person.read_until(QUESTION)
        assert "PREVIEW REPLACED" in second
        assert "WORKSPACE_DRIFTED, a" in second
        assert "+theirs" in second
        difference = second.partition("PREVIEW REPLACED")[2]
        assert "untouched" not in difference, "only what is different is shown"
        assert (project / "a").read_text() == "theirs\n"
        person.say("f")
        assert "untouched" in person.read_until(QUESTION)
        person.say("a")
    finally:
        code = person.end()
    assert code == 0
    assert (project / "a").read_text() == "theirs\nours\n"
    assert (project / "made").read_text() == "untouched\n"


async def test_in_a_subscription_and_in_the_list(up: Installation) -> None:
    project = up.project(a="a\n")
    async with up.client() as client:
        run = await start(client, project, STEP, head="policy: {run_command_gate: effect}")
        first = await pending(client, run)
        (project / "a").write_text("theirs\n")
        told: list[tuple[str, str]] = []
        messages = client.subscribe_approvals(ApprovalFilter(run_id=run.run_id), with_preview=True)
        async with asyncio.timeout(SECONDS), aclosing(messages) as stream:
            async for message in stream:
                if message.HasField("event"):
                    approval = message.event.approval
                    told.append((KIND(message.event.kind).rpartition("_")[2], approval.approval_id))
                    if approval.replaces:
                        break
                if message.caught_up and len(told) == 1:
                    await client.decide(first, "approve")
        assert [kind for kind, _ in told] == ["PENDING", "RESOLVED", "REPLACED", "REQUESTED"]
        assert {approval_id for _, approval_id in told[:3]} == {first.approval_id}
        assert approval.replaces == first.approval_id
        assert list(approval.preview.changed_since.paths) == ["a"], "the new one comes with what is different"

        shown = _run(up, "approvals", "show", approval.approval_id)
        assert "PREVIEW REPLACED" in shown
        assert "+theirs" in shown
        old = _run(up, "approvals", "show", first.approval_id)
        assert f"asks now: {approval.approval_id}" in old
        assert "SUPERSEDED" in old
        assert (await client.get_approval(first.approval_id)).state == ApprovalState.APPROVAL_STATE_SUPERSEDED
        await client.decide(approval, "approve")
        assert state(await ended(client, run)) == "COMPLETED"
    assert (project / "a").read_text() == "theirs\nours\n"


async def test_whoever_only_watches_or_waits_is_told_what_to_decide_now(up: Installation) -> None:
    project = up.project(a="a\n")
    async with up.client() as client:
        run = await start(client, project, STEP, head="policy: {run_command_gate: effect}")
        first = await pending(client, run)
        watching = await asyncio.create_subprocess_exec(
            *INTERLOCK, "run", "watch", run.run_id, env=up.env, stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert watching.stderr is not None
        (project / "a").write_text("theirs\n")
        await client.decide(first, "approve")
        said = ""
        async with asyncio.timeout(SECONDS):
            while f"in place of {first.approval_id}" not in said:
                line = await watching.stderr.readline()
                assert line, said
                said += line.decode()
        second = await pending(client, run)
        assert second.approval_id != first.approval_id
        assert (
            "Step 1: the workspace changed under the preview (WORKSPACE_DRIFTED: a), "
            f"so {first.approval_id} is void; it is previewed anew.\n"
        ) in said
        assert f"Step 1: decide {second.approval_id} now, in place of {first.approval_id} " in said

        asks = f"Step 1 waits for {second.approval_id}, in place of {first.approval_id}: "
        assert asks in _run(up, "run", "wait", run.run_id, code=3)
        got = json.loads(_run(up, "run", "wait", run.run_id, "-o", "json", code=3))["steps"][0]
        assert (got["approvalId"], got["replacedApprovalId"]) == (second.approval_id, first.approval_id)

        await client.decide(second, "approve")
        done = await ended(client, run)
        assert await watching.wait() == 0
        assert done.steps[0].replaced_approval_id == ""
        assert "waits for" not in _run(up, "run", "get", run.run_id)


def _run(up: Installation, *arguments: str, code: int = 0) -> str:
    done = subprocess.run([*INTERLOCK, *arguments], env=up.env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout
