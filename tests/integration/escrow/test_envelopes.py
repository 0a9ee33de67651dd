"""Envelopes on a real executor: what a command did in its fork is what counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.stack import Stack, command, edit

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import envelope_pb2 as pb
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import policy_pb2

DEFAULT = policy_pb2.Policy()


def bounds(*commands: str) -> pb.EnvelopeBounds:
    prefixes = [pb.CommandPrefix(words=each.split()) for each in commands]
    return pb.EnvelopeBounds(paths=["src/**"], commands=prefixes)


async def test_inside_is_published_and_outside_is_asked_about_by_what_it_did(
    stack: Stack, live: Path
) -> None:
    (live / "src").mkdir()
    (live / "src" / "old").write_text("x\n")
    (live / "tool").write_text('import sys\nfor p in sys.argv[1:]: open(p, "w").write("w\\n")\n')
    workspace = await stack.executor.workspace(live)
    run = await stack.run(
        workspace,
        command("true"),
        command("python3 tool src/a src/b"),
        edit("src/c", "edited\n"),
        command("mv src/old src/new"),
        command("python3 tool src/d elsewhere"),
        command("ln -s ../../secrets src/way"),
        policy=DEFAULT,
    )
    first = await stack.pending(run)
    await stack.decide(first, approve={"envelope": bounds("python3 tool", "mv", "ln")})
    await stack.until(run, "AWAITING_APPROVAL")
    while (shown := await stack.pending(run)).approval_id == first.approval_id:
        pass
    assert shown.step == 5
    assert sorted(p.name for p in (live / "src").iterdir()) == ["a", "b", "c", "new"]
    assert not (live / "elsewhere").exists()
    assert [change.path for change in shown.preview.changes] == ["elsewhere", "src/d"]
    now = (await stack.stub.GetRun(o.GetRunRequest(run_id=run))).run
    (envelope,) = now.envelopes
    assert (list(envelope.steps), envelope.approval_id) == ([2, 3, 4], first.approval_id)
    assert shown.outside == f"Outside {envelope.envelope_id} (paths): elsewhere is in none of src/**."
    assert [step.envelope_id for step in now.steps[1:4]] == [envelope.envelope_id] * 3
    assert {step.envelope_granted_by for step in now.steps[1:4]} == {envelope.granted_by}
    await stack.decide(shown)
    while (link := await stack.pending(run)).approval_id == shown.approval_id:
        pass
    assert "src/way is a link that leads out of the workspace" in link.outside
    assert not (live / "src" / "way").is_symlink()
    await stack.decide(link)
    await stack.until(run, "COMPLETED")
    assert (live / "elsewhere").read_text() == "w\n"


async def test_uses_are_counted_once_when_executor_and_grants_come_and_go(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    steps = [edit(f"src/{number}", "x\n") for number in range(6)]
    run = await stack.run(workspace, command("true"), *steps, policy=DEFAULT)
    first = await stack.pending(run)
    allowed = bounds()
    allowed.max_steps = 4
    request = pb.GrantEnvelopeRequest(request_id="once", run_id=run, bounds=allowed)
    answers = await asyncio.gather(*(stack.stub.GrantEnvelope(request) for _ in range(8)))
    assert len({answer.envelope.envelope_id for answer in answers}) == 1, "the same request is one grant"
    await stack.decide(first)
    await stack.executor.kill()
    await stack.executor.start()
    while (shown := await stack.pending(run)).approval_id == first.approval_id:
        pass
    assert (shown.step, len(list((live / "src").iterdir()))) == (6, 4)
    assert "(max_steps)" in shown.outside
    (envelope,) = (await stack.stub.GetRun(o.GetRunRequest(run_id=run))).run.envelopes
    assert (list(envelope.steps), envelope.state) == ([2, 3, 4, 5], pb.ENVELOPE_STATE_EXHAUSTED)
    revoke = pb.RevokeEnvelopeRequest(run_id=run, envelope_id="env-none")
    with pytest.raises(InterlockError) as caught, rpc_errors():
        await stack.stub.RevokeEnvelope(revoke)
    assert caught.value.reason is Reason.ENVELOPE_NOT_FOUND
