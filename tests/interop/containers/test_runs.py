"""Runs through the containers: what was approved takes effect in the executor's volumes, and can be undone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from tests.interop.containers.conftest import UID, Stack

HELLO = '{edit_file: {path: hello.txt, new_content: "Hello.\\n"}}'


def states(run: Any) -> list[str]:
    return [step["state"].removeprefix("STEP_STATE_") for step in run["steps"]]


def output(stack: Stack, workspace: str, step: str) -> list[str]:
    """The lines that a command writes to standard output, as a person sees them."""
    plan = stack.plan(step)
    done = stack.interlock("run", "exec", "--workspace", workspace, "--plan", plan, "--approve", "all")
    return re.findall(r"^ +\| (.*)$", done.stdout + done.stderr, re.M)


def test_a_plan_of_all_five_kinds(stack: Stack) -> None:
    here, there = stack.project(app__py='def greet():\n    return "hi"\n')
    workspace = stack.json("workspace", "create", there)["workspaceId"]
    plan = stack.plan(
        "{read_file: {path: app.py}}",
        '{analyze: {instruction: "What does app.py do?"}}',
        HELLO,
        '{run_command: {command: "cat hello.txt app.py > both.txt; mkdir out; wc -l < both.txt"}}',
        '{summarize: {instruction: "Say what was done."}}',
    )
    run = stack.json("run", "exec", "--workspace", workspace, "--plan", plan, "--approve", "all")
    assert states(run) == ["SUCCEEDED"] * 5
    assert int(run["cost"]["modelCalls"]) >= 2
    assert (here / "hello.txt").read_text() == "Hello.\n"
    assert (here / "both.txt").read_text() == 'Hello.\ndef greet():\n    return "hi"\n'
    assert {path.stat().st_uid for path in here.iterdir()} == {UID}
    assert "Verified" in stack.interlock("journal", "verify", run["runId"]).stdout
    stack.interlock("run", "rollback", run["runId"])
    assert [path.name for path in here.iterdir()] == ["app.py"]
    assert "Verified" in stack.interlock("journal", "verify", run["runId"]).stdout


def test_nothing_is_written_before_the_approval_and_exactly_what_was_shown_after(stack: Stack) -> None:
    here, there = stack.project(a__txt="old\n")
    run = stack.start(there, '{edit_file: {path: a.txt, new_content: "new\\n"}}')
    assert states(stack.ended(run)) == ["AWAITING_APPROVAL"]
    assert (here / "a.txt").read_text() == "old\n"
    (found,) = stack.json("approvals", "list", "--run", run)["approvals"]
    shown = stack.json("approvals", "show", found["approvalId"])
    assert "+new" in shown["preview"]["diff"]
    refused = stack.interlock(
        "approvals", "approve", found["approvalId"], "--digest", "sha256:" + "0" * 64, code=None
    )
    assert refused.returncode != 0
    assert "APPROVAL_DIGEST_MISMATCH" in refused.stderr
    assert (here / "a.txt").read_text() == "old\n"
    stack.interlock("approvals", "approve", found["approvalId"], "--digest", shown["digest"])
    assert states(stack.ended(run)) == ["SUCCEEDED"]
    assert (here / "a.txt").read_text() == "new\n"


def test_a_rejected_command_never_runs(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, "{run_command: {command: rm a.txt}}")
    assert states(stack.ended(run)) == ["AWAITING_APPROVAL"]
    stack.interlock("approvals", "reject", run)
    assert states(stack.ended(run)) == ["REJECTED"]
    assert (here / "a.txt").exists()


def test_an_archive_and_a_repository_become_workspaces_in_the_executors_volume(stack: Stack) -> None:
    packed = stack.archive(a__txt="packed\n")
    here, there = stack.project(a__txt="committed\n")
    own(here, 0)
    git(here, "init", "--quiet")
    git(here, "add", "a.txt")
    git(here, "commit", "--quiet", "--message", "one")
    own(here, UID)
    for source in (["workspace", "create", packed], ["workspace", "create", "--git", there]):
        workspace = stack.json(*source)
        run = stack.start(workspace["workspaceId"], HELLO)
        stack.ended(run)
        stack.interlock("approvals", "approve", run)
        assert states(stack.ended(run)) == ["SUCCEEDED"]
        assert workspace["path"].startswith("/var/lib/interlock/")
        assert stack.inside("executor", "cat", f"{workspace['path']}/hello.txt") == "Hello.\n"
        assert stack.inside("executor", "cat", f"{workspace['path']}/a.txt") in ("packed\n", "committed\n")
    assert not (here / "hello.txt").exists()


def test_a_directory_that_the_executor_may_not_write_is_refused_by_name(stack: Stack) -> None:
    refused = stack.interlock("workspace", "create", "/etc", code=None)
    assert refused.returncode in (1, 2, 6)
    assert "reason:" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_step_sees_a_sandbox_inside_the_container(stack: Stack) -> None:
    stack.project(beside__txt="of somebody else\n")
    here, there = stack.project(a__txt="a\n")
    commands = (
        "id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '[:blank:]'; hostname",
        "ls /workspaces; ls /var/lib/interlock 2>&1 | grep -c 'No such'",
        "tail -n +3 /proc/net/dev | cut -d: -f1 | xargs",
        "env | grep -c -E 'INTERLOCK|TOKEN'; tr '\\0' '\\n' < /proc/1/environ | wc -c",
        "touch /usr/x 2>&1 | grep -c Read-only",
    )
    quoted = "; ".join(commands).replace("\\", "\\\\").replace('"', '\\"')
    lines = output(stack, there, f'{{run_command: {{command: "{quoted}"}}}}')
    assert lines[:5] == ["1000", "CapEff:0000000000000000", "NoNewPrivs:1", "Seccomp:2", "step"]
    assert lines[5] == here.name, "a link to /workspace, and nothing beside it"
    assert lines[6:] == ["1", "lo", "0", "0", "1"]


def test_bubblewrap_runs_as_the_executors_user(stack: Stack) -> None:
    _, there = stack.project(a__txt="a\n")
    run = stack.start(there, '{run_command: {command: "sleep 60"}, gate: none}')
    found = stack.wait_for_process("executor", "bwrap")
    assert {uid for uid, _ in found} == {str(UID)}
    stack.interlock("run", "cancel", run)
    assert stack.ended(run)["state"] == "RUN_STATE_CANCELLED"
    stack.wait_for_no_process("executor", "bwrap")


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def own(directory: Path, uid: int) -> None:
    subprocess.run(["chown", "-R", f"{uid}:{uid}", str(directory)], check=True)
