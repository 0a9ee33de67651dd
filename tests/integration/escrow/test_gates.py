"""Where a step waits, by its plan's policy and by itself; and that what was shown is what is published."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.orchestrator import create, executor_server, orchestrator, pending
from tests.support.scripted_executor import Script, ScriptedExecutor
from tests.support.stack import COMMAND, EFFECT, FREE, Stack, command
from tests.support.trees import read_tree

from interlock.cli.show.workspaces import change_line
from interlock.client import parse_plan, run_request
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import decision_pb2, executor_pb2, policy_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

WAITS = {
    ("edit_file", "none"): [],
    ("edit_file", "command"): [
        "EFFECT"
    ],  # writing a file runs nothing: there is only its effect to ask about
    ("edit_file", "effect"): ["EFFECT"],
    ("edit_file", "both"): ["EFFECT"],
    ("run_command", "none"): [],
    ("run_command", "command"): ["COMMAND"],
    ("run_command", "effect"): ["EFFECT"],
    ("run_command", "both"): ["COMMAND", "EFFECT"],
}
STEPS = {
    "edit_file": '{path: f, new_content: "new\\n"}',
    "run_command": '{command: "echo new > f"}',
}


def plan(kind: str, policy: dict[str, Any], gate: str = "") -> str:
    """The text of a plan with one step."""
    rules = "".join(f"  {name}: {str(value).lower()}\n" for name, value in policy.items())
    named = f", gate: {gate}" if gate else ""
    return f"goal: gates\npolicy:\n{rules}steps:\n  - {{{kind}: {STEPS[kind]}{named}}}\n"


async def asked(stack: Stack, live: Path, text: str) -> list[str]:
    """The gates of a plan's only step, approved one after the other; nothing takes effect before the last."""
    request = run_request(parse_plan(text), await stack.executor.workspace(live), start=True)
    run = (await stack.stub.CreateRun(request)).run.run_id
    gates: list[str] = []
    while True:
        now = await stack.until(run, "AWAITING_APPROVAL", "COMPLETED")
        if not now.steps[0].approval_id or now.state == 7:
            break
        approval = await stack.approval(now.steps[0].approval_id)
        if approval.state != decision_pb2.APPROVAL_STATE_PENDING:
            break
        assert not (live / "f").exists(), "nothing takes effect before it is approved"
        gates.append(policy_pb2.Gate.Name(approval.gate).removeprefix("GATE_"))
        assert bool(approval.preview.result_tree) == (approval.gate == EFFECT)
        await stack.decide(approval)
    await stack.until(run, "COMPLETED")
    assert (live / "f").read_text() == "new\n"
    return gates


async def test_every_gate_of_a_plans_policy(stack: Stack, place: Path) -> None:
    for (kind, gate), waits in WAITS.items():
        directory = place / f"{kind}-{gate}"
        directory.mkdir()
        assert await asked(stack, directory, plan(kind, {f"{kind}_gate": gate})) == waits, (kind, gate)


async def test_every_gate_of_a_step_where_the_policy_lets_it(stack: Stack, place: Path) -> None:
    for (kind, gate), waits in WAITS.items():
        directory = place / f"{kind}-{gate}"
        directory.mkdir()
        text = plan(kind, {f"{kind}_gate": "effect", "steps_may_weaken": True}, gate=gate)
        assert await asked(stack, directory, text) == waits, (kind, gate)


@pytest.mark.parametrize("kind", ["edit_file", "run_command"])
async def test_a_step_cannot_open_its_own_gate(stack: Stack, live: Path, kind: str) -> None:
    text = plan(kind, {f"{kind}_gate": "effect"}, gate="none")
    request = run_request(parse_plan(text), await stack.executor.workspace(live), start=True)
    with pytest.raises(InterlockError) as caught:
        await stack.run(request.workspace_id, *request.steps, policy=request.policy)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "steps[0].gate"


DIFFERENT_EVERY_TIME = (
    "head -c 5000 /dev/urandom > random; echo ran >> count; date +%s%N > when; "
    "cat random | sha256sum; date +%N >&2"
)


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_was_previewed_is_published_and_not_run_again(
    stack: Stack, live: Path, restarted: bool
) -> None:
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, command(DIFFERENT_EVERY_TIME, gate=EFFECT))
    shown = await stack.pending(run)
    preview = shown.preview
    assert read_tree(live) == {}
    if restarted:
        await stack.executor.kill()
        await stack.executor.start()
    request = executor_pb2.ReadFileRequest(workspace_id=workspace, tree=preview.result_tree, path="random")
    seen = (await stack.executor.stub.ReadFile(request)).data
    await stack.decide(shown)
    done = await stack.until(run, "COMPLETED")

    assert (live / "random").read_bytes() == seen
    assert hashlib.sha256(seen).hexdigest() in preview.stdout.head.decode()
    assert (live / "count").read_text() == "ran\n"
    assert (live / "when").read_text() in preview.diff.replace("+", "")
    effect = done.steps[0].effect
    assert (effect.stdout, effect.stderr, effect.diff) == (preview.stdout, preview.stderr, preview.diff)
    assert effect.result_tree == done.head_tree == preview.result_tree


async def test_the_preview_shows_everything_there_is(stack: Stack, live: Path) -> None:
    (live / "old-name").write_text("moved along\n" * 20)
    (live / "script").write_text("#!/bin/sh\n")
    (live / "gone").write_text("gone\n")
    (live / "link").symlink_to("gone")
    (live / "picture").write_bytes(bytes(range(256)))
    (live / "turns").write_text("a file\n")
    (live / "turns-back").mkdir()
    os.mkfifo(live / "pipe")
    line = """
        mv old-name new-name; chmod 755 script; rm gone; ln -sfn script link; mkdir -p empty/dir
        printf '\\000\\001\\002' > picture; echo text > added
        rm turns; mkdir turns; echo in > turns/in; rmdir turns-back; ln -s added turns-back
        echo to stdout; echo to stderr >&2; exit 3
    """
    step = command(line, gate=EFFECT)
    step.input.run_command.allowed_exit_codes.append(3)
    run = await stack.run(await stack.executor.workspace(live), step)
    effect = (await stack.pending(run)).preview
    kinds = {c.path: step_pb2.ChangeKind.Name(c.kind).removeprefix("CHANGE_KIND_") for c in effect.changes}
    assert kinds == {
        "added": "ADDED",
        "empty": "ADDED",
        "empty/dir": "ADDED",
        "gone": "DELETED",
        "link": "MODIFIED",
        "new-name": "RENAMED",
        "picture": "MODIFIED",
        "script": "MODE_CHANGED",
        "turns": "MODIFIED",
        "turns-back": "MODIFIED",
        "turns/in": "ADDED",
    }
    by_path = {c.path: c for c in effect.changes}
    assert [change_line(by_path[name]) for name in ("turns", "turns-back", "empty", "link", "gone")] == [
        "replaced turns (file → directory)",
        "replaced turns-back (directory → link)",
        "added directory empty",
        "modified link link (4 B → 6 B)",
        "deleted gone (5 B)",
    ]
    assert by_path["new-name"].old_path == "old-name"
    assert (by_path["script"].old_mode, by_path["script"].new_mode) == (0o644, 0o755)
    assert by_path["picture"].binary
    assert (by_path["picture"].old_size, by_path["picture"].new_size) == (256, 3)
    for part in ("rename from old-name", "new mode 100755", "Binary files a/picture and b/picture differ"):
        assert part in effect.diff
    events = (await stack.stub.ListEvents(o.ListEventsRequest(run_id=run))).events
    made = json.loads(events[0].canonical_json)["data"]
    assert (made["left_out"], made["left_out_total"]) == (["pipe"], 1), "a fifo is in no tree, and it is told"
    assert effect.exit_code == 3
    assert (effect.stdout.head, effect.stderr.head) == (b"to stdout\n", b"to stderr\n")
    assert effect.usage.wall.ToMicroseconds() > 0
    assert effect.usage.max_rss_bytes > 0
    assert effect.sandbox.backend
    assert not effect.diff_truncated


async def test_what_is_too_long_is_cut_and_marked(stack: Stack, live: Path) -> None:
    line = "seq 200000 > a-long; seq 1000000; for i in $(seq 1100); do echo x > f$i; done"
    run = await stack.run(await stack.executor.workspace(live), command(line, gate=EFFECT))
    effect = (await stack.pending(run)).preview
    assert effect.diff_truncated
    assert len(effect.diff.encode()) <= 256 << 10
    assert effect.diff.endswith("interlock: the rest of the difference is left out\n")
    assert len(effect.changes) == 1000
    assert effect.changes_total == 1101
    assert effect.stdout.truncated
    everything = "".join(f"{n}\n" for n in range(1, 1_000_001)).encode()
    assert effect.stdout.total_bytes == len(everything)
    assert everything.startswith(effect.stdout.head)
    assert everything.endswith(effect.stdout.tail)
    assert effect.stdout.digest == "sha256:" + hashlib.sha256(everything).hexdigest()


async def test_a_previewed_command_has_no_network(stack: Stack, live: Path) -> None:
    code = (
        "import socket\n"
        "try: socket.create_connection(('127.0.0.1', 7401), 3); print('reached')\n"
        "except OSError as e: print('refused', [i for _, i in socket.if_nameindex()])\n"
    )
    argv = step_pb2.Argv(items=["/usr/bin/python3", "-c", code])
    made = step_pb2.StepInput(run_command=step_pb2.RunCommandInput(argv=argv))
    run = await stack.run(
        await stack.executor.workspace(live), step_pb2.StepSpec(input=made, gate=EFFECT), policy=FREE
    )
    assert (await stack.pending(run)).preview.stdout.head.startswith(b"refused")


@pytest.mark.parametrize("by", ["step", "policy"])
async def test_a_command_with_network_says_that_it_cannot_be_previewed(database_url: str, by: str) -> None:
    """With a scripted executor that would give it the network: the gate is the orchestrator's business."""
    script = Script()
    rules = policy_pb2.Policy(name="p", run_command_gate=policy_pb2.GATE_EFFECT)
    step = command("curl example.com", network=["example.com:443"])
    if by == "step":
        rules, step.gate = FREE, policy_pb2.GATE_BOTH
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, step, policy=rules)
        approval = await pending(running.stub, run.run_id)
    assert approval.gate == COMMAND
    assert "cannot be previewed" in approval.gate_note
    assert ("both" if by == "step" else "effect") in approval.gate_note
    assert script.count("prepare") == 0, "nothing has run"


async def test_an_executor_without_network_refuses_such_a_command_before_anything(
    stack: Stack, live: Path
) -> None:
    await stack.executor.kill()
    stack.executor.env["INTERLOCK_NETWORK"] = "off"
    await stack.executor.start()
    step = command("curl example.com", network=["example.com:443"], gate=EFFECT)
    run = await stack.run(await stack.executor.workspace(live), step)
    failed = await stack.until(run, "FAILED")
    assert failed.failure.reason == "NETWORK_NOT_AVAILABLE"
