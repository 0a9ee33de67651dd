"""The workspace changes under an approved preview: a new one shows what is different and asks again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import BOTH, COMMAND, EFFECT, Stack, command, edit

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import decision_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

NAME = step_pb2.ChangeKind.Name


def changes(difference: step_pb2.Difference) -> dict[str, str]:
    return {c.path: NAME(c.kind).removeprefix("CHANGE_KIND_").lower() for c in difference.changes}


async def test_disjoint_changes_keep_the_approval(stack: Stack, live: Path) -> None:
    (live / "a").write_text("a\n")
    run = await stack.run(await stack.executor.workspace(live), command("echo more >> a", gate=EFFECT))
    shown = await stack.pending(run)
    (live / "mine").write_text("the user's\n")
    await stack.decide(shown)
    done = await stack.until(run, "COMPLETED")
    assert done.steps[0].attempt == 1
    assert (live / "a").read_text() == "a\nmore\n"
    assert (live / "mine").read_text() == "the user's\n"


@pytest.mark.parametrize("kind", ["command", "edit"])
async def test_an_overlap_asks_again_with_what_is_different(stack: Stack, live: Path, kind: str) -> None:
    (live / "a").write_text("a\n")
    (live / "b").write_text("b\n")
    workspace = await stack.executor.workspace(live)
    does = {
        "command": command("echo more >> a; echo made > new", gate=EFFECT),
        "edit": edit("a", "a\nmore\n", gate=EFFECT),
    }[kind]
    run = await stack.run(workspace, does)
    first = await stack.pending(run)
    assert not first.preview.HasField("changed_since")
    (live / "a").write_text("theirs\n")
    (live / "b").write_text("b, and theirs\n")
    await stack.decide(first)
    second = await stack.pending(run, replaces=first.approval_id)
    assert (live / "a").read_text() == "theirs\n", "nothing was published"

    assert (second.attempt, second.replaces) == (2, first.approval_id)
    assert second.digest != first.digest
    since = second.preview.changed_since
    assert (since.approval_id, since.attempt, since.reason) == (first.approval_id, 1, "WORKSPACE_DRIFTED")
    assert list(since.paths) == ["a"]
    assert changes(since.workspace) == {"a": "modified"}, "b is not in question"
    assert "+theirs" in since.workspace.diff
    assert changes(since.effect) == {"a": "modified"}, "`new` is made as it was approved"
    assert "-theirs" in since.effect.diff or "+more" in since.effect.diff
    assert since.dropped.changes_total == 0
    assert list(since.differs) == []

    old = await stack.approval(first.approval_id)
    assert old.state == decision_pb2.APPROVAL_STATE_SUPERSEDED
    assert old.superseded_by == second.approval_id
    assert old.decision.WhichOneof("verdict") == "approve", "what was decided stays known"

    await stack.decide(second)
    await stack.until(run, "COMPLETED")
    assert (live / "a").read_text() == {"command": "theirs\nmore\n", "edit": "a\nmore\n"}[kind]
    assert (live / "b").read_text() == "b, and theirs\n"


async def test_what_the_step_no_longer_does_and_says_is_named(stack: Stack, live: Path) -> None:
    """A command that looks before it acts does something else on another workspace."""
    (live / "a").write_text("a\n")
    line = "if grep -q theirs a; then echo seen; exit 3; else echo x > made; echo y >> a; fi"
    step = command(line, gate=EFFECT)
    step.input.run_command.allowed_exit_codes.append(3)
    run = await stack.run(await stack.executor.workspace(live), step)
    first = await stack.pending(run)
    (live / "a").write_text("theirs\n")
    await stack.decide(first)
    since = (await stack.pending(run, replaces=first.approval_id)).preview.changed_since
    assert changes(since.dropped) == {"a": "modified", "made": "added"}
    assert since.effect.changes_total == 0
    assert list(since.differs) == ["exit_code", "stdout"]


async def test_a_new_file_in_a_directory_that_the_effect_deletes(stack: Stack, live: Path) -> None:
    (live / "d").mkdir()
    (live / "d/old").write_text("old\n")
    run = await stack.run(await stack.executor.workspace(live), command("rm -rf d", gate=EFFECT))
    first = await stack.pending(run)
    (live / "d/precious").write_text("precious\n")
    await stack.decide(first)
    second = await stack.pending(run, replaces=first.approval_id)
    since = second.preview.changed_since
    assert changes(since.workspace)["d/precious"] == "added"
    assert changes(since.effect) == {"d/precious": "deleted"}, "the rest of it was approved before"
    assert "-precious" in since.effect.diff
    await stack.decide(second, reject={})
    await stack.until(run, "FAILED")
    assert (live / "d/precious").read_text() == "precious\n"


@pytest.mark.parametrize("gate", [COMMAND, BOTH])
async def test_a_command_is_approved_for_the_workspace_as_it_was(stack: Stack, live: Path, gate: Any) -> None:
    (live / "a").write_text("a\n")
    run = await stack.run(await stack.executor.workspace(live), command("cat a > copy", gate=gate))
    first = await stack.pending(run)
    assert first.gate == COMMAND
    (live / "a").write_text("other\n")
    await stack.decide(first)
    second = await stack.pending(run, replaces=first.approval_id)
    assert (second.gate, second.attempt) == (COMMAND, 2)
    since = second.preview.changed_since
    assert since.reason == "EFFECT_DIGEST_MISMATCH"
    assert changes(since.workspace) == {"a": "modified"}
    assert since.effect.changes_total == since.dropped.changes_total == 0
    assert not (live / "copy").exists()
    await stack.decide(second)
    if gate == BOTH:
        await stack.decide(await stack.pending(run))
    await stack.until(run, "COMPLETED")
    assert (live / "copy").read_text() == "other\n"


async def test_the_feed_tells_of_the_replacement_between_the_two(stack: Stack, live: Path) -> None:
    (live / "a").write_text("a\n")
    run = await stack.run(await stack.executor.workspace(live), command("echo x >> a", gate=EFFECT))
    first = await stack.pending(run)
    (live / "a").write_text("theirs\n")
    seen: list[tuple[str, str, str]] = []
    async for told in stack.stub.WatchApprovals(o.WatchApprovalsRequest()):
        for event in told.events:
            kind = decision_pb2.ApprovalEventKind.Name(event.kind).removeprefix("APPROVAL_EVENT_KIND_")
            state = decision_pb2.ApprovalState.Name(event.approval.state).removeprefix("APPROVAL_STATE_")
            seen.append((kind, event.approval.approval_id, state))
        if len(seen) >= 4:
            break
        if told.caught_up and len(seen) == 1:
            await stack.decide(first)
    second = await stack.pending(run, replaces=first.approval_id)
    assert seen[0] == ("PENDING", first.approval_id, "PENDING")
    assert [(kind, id_) for kind, id_, _ in seen[1:]] == [
        ("RESOLVED", first.approval_id),
        ("REPLACED", first.approval_id),
        ("REQUESTED", second.approval_id),
    ]
    assert seen[2][2] == "SUPERSEDED"


async def test_the_first_digest_is_worth_nothing_afterwards(stack: Stack, live: Path) -> None:
    (live / "a").write_text("a\n")
    run = await stack.run(await stack.executor.workspace(live), command("echo x >> a", gate=EFFECT))
    first = await stack.pending(run)
    (live / "a").write_text("theirs\n")
    await stack.decide(first)
    second = await stack.pending(run, replaces=first.approval_id)
    with pytest.raises(InterlockError) as caught:
        await stack.decide(second, digest=first.digest)
    assert caught.value.reason is Reason.APPROVAL_DIGEST_MISMATCH
    with pytest.raises(InterlockError) as caught:
        await stack.decide(first)
    assert caught.value.reason is Reason.APPROVAL_ALREADY_DECIDED
    assert caught.value.metadata["state"] == "superseded"
    assert caught.value.metadata["superseded_by"] == second.approval_id
