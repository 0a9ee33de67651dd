"""The command against the real services: one `interlock up` for all tests, real processes throughout."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.command_line import (
    EDIT,
    FALSE,
    READ,
    RUN,
    Installation,
    execute,
    plan,
)

pytestmark = pytest.mark.slow


def test_exec_prints_the_final_run_with_its_steps(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, READ, EDIT, RUN)
    assert run["state"] == "RUN_STATE_COMPLETED"
    assert [step["state"] for step in run["steps"]] == ["STEP_STATE_SUCCEEDED"] * 3
    read, edit, command = run["steps"]
    assert base64.b64decode(read["effect"]["content"]["head"]) == b"print('a')\n"
    assert "+new" in edit["effect"]["diff"]
    assert base64.b64decode(command["effect"]["stdout"]["head"]) == b"out\n"
    assert base64.b64decode(command["effect"]["stderr"]["head"]) == b"err\n"
    assert command["effect"]["exitCode"] == 0
    for step in run["steps"]:
        assert re.fullmatch("sha256:[0-9a-f]{64}", step["effect"]["baseTree"])
    assert run["headTree"] == command["effect"]["resultTree"] != run["baseTree"]
    assert (project / "b.txt").read_text() == (project / "c.txt").read_text() == "new\n"


def test_approve_all_is_recorded_with_its_channel(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT)
    approval = interlock.json("approvals", "show", run["steps"][0]["approvalId"])
    assert approval["state"] == "APPROVAL_STATE_APPROVED"
    assert approval["decision"]["channel"] == "cli"
    assert approval["decision"]["digest"] == approval["digest"] == run["steps"][0]["effect"]["effectDigest"]


def test_progress_shows_output_and_what_is_approved(interlock: Installation, project: Path) -> None:
    file = plan(project, EDIT, "{run_command: {command: 'printf \"\\\\033[2Jx\\\\n\"'}, gate: command}")
    done = interlock("run", "exec", "-w", str(project), "--plan", file, "--approve", "all")
    assert "+new" in done.stderr
    assert "\\x1b[2Jx" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "COMPLETED" in done.stdout
    assert "COMPLETED: 2 of 2 steps" in done.stderr


def test_without_terminal_a_gate_leaves_the_run_waiting(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="ask")
    assert run["state"] == "RUN_STATE_AWAITING_APPROVAL"
    assert not (project / "b.txt").exists()
    pending = interlock.json("approvals", "list", "--run", run["runId"])["approvals"]
    assert [each["runId"] for each in pending] == [run["runId"]]
    shown = interlock("approvals", "show", run["runId"]).stdout
    assert "+new" in shown
    assert pending[0]["digest"] in shown
    interlock("approvals", "approve", pending[0]["approvalId"], "-m", "fine")
    finished = interlock.json("run", "wait", run["runId"])
    assert finished["state"] == "RUN_STATE_COMPLETED"
    assert (project / "b.txt").read_text() == "new\n"
    again = interlock("approvals", "approve", pending[0]["approvalId"], code=1)
    assert "reason: APPROVAL_ALREADY_DECIDED" in again.stderr


def test_none_says_how_to_approve(interlock: Installation, project: Path) -> None:
    file = plan(project, EDIT)
    done = interlock("run", "exec", "-w", str(project), "--plan", file, "--approve", "none", code=3)
    assert re.search(r"interlock approvals approve apr-\w+", done.stderr)
    run = re.search(r"interlock run watch (run-\w+)", done.stderr)
    assert run is not None
    interlock("run", "cancel", run[1])


def test_a_rejection_is_exit_code_4(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="none")
    interlock("approvals", "reject", run["runId"], "-m", "not like this")
    rejected = interlock.json("run", "wait", run["runId"], code=4)
    assert rejected["state"] == "RUN_STATE_FAILED"
    assert "not like this" in rejected["failure"]["message"]
    assert not (project / "b.txt").exists()


def test_a_decision_about_another_digest_is_refused(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="none")
    done = interlock("approvals", "approve", run["runId"], "--digest", "sha256:" + "0" * 64, code=1)
    assert "APPROVAL_DIGEST_MISMATCH" in done.stderr
    interlock("run", "cancel", run["runId"])


def test_a_failed_step_is_exit_code_1(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, FALSE, code=1)
    assert run["failure"]["reason"] == "COMMAND_FAILED"
    assert run["steps"][0]["failure"]["metadata"]["exit_code"] == "7"


def test_the_same_directory_is_the_same_workspace(interlock: Installation, project: Path) -> None:
    first = execute(interlock, project, READ)
    second = execute(interlock, project, READ)
    assert first["workspaceId"] == second["workspaceId"]
    assert first["runId"] != second["runId"]


def test_journals_are_shown_exported_and_verified(
    interlock: Installation, project: Path, tmp_path: Path
) -> None:
    run = execute(interlock, project, EDIT, RUN)
    events = interlock.json("journal", "show", run["runId"])["events"]
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    bundle = tmp_path / "bundle"
    interlock("journal", "export", run["runId"], "-f", str(bundle))
    report = interlock.json("journal", "verify", str(bundle))
    assert report["ok"]
    assert (report["events"], report["head"]) == (len(events), events[-1]["digest"])
    assert report["payloads"] > 0
    assert interlock.json("journal", "verify", run["runId"])["head"] == report["head"]
    assert interlock("journal", "export", run["runId"]).stdout.encode() == bundle.read_bytes()
    alone = subprocess.run([sys.executable, "-m", "interlock.verify", str(bundle)], check=False)
    assert alone.returncode == 0
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"media_type":"', b'"media_type":"x', 1))
    assert not interlock.json("journal", "verify", str(bundle), code=1)["ok"]
    lines = whole.splitlines(keepends=True)
    bundle.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert "event 2: its seq is 3" in interlock("journal", "verify", str(bundle), code=1).stderr


def test_names_that_people_chose_do_not_confuse_a_journal(interlock: Installation, project: Path) -> None:
    nowhere = "sha256:" + "0" * 64
    step = (
        f"{{run_command: {{command: 'true', env: {{A_payload: hi, b_payload: '{nowhere}'}}}}, gate: command}}"
    )
    run = execute(interlock, project, step)
    assert interlock.json("journal", "verify", run["runId"])["ok"]


def test_rolling_back_gives_the_first_tree(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, RUN)
    answer = interlock.json("run", "rollback", run["runId"], "-m", "enough")
    assert answer["headTree"] == run["baseTree"]
    assert answer["previousTree"] == run["headTree"]
    assert sorted(path.name for path in project.iterdir()) == ["a.py"]
    assert interlock.json("journal", "verify", run["runId"])["ok"]


def test_workspaces(interlock: Installation, project: Path) -> None:
    made = interlock.json("workspace", "create", str(project), "--label", "team=core")
    assert made["labels"] == {"team": "core"}
    run = execute(interlock, project, EDIT)
    listed = interlock.json("workspace", "list")["workspaces"]
    assert made["workspaceId"] in [each["workspaceId"] for each in listed]
    shown = interlock.json("workspace", "show", str(project))
    assert shown["workspace"]["headTree"] == run["headTree"]
    assert shown["snapshots"][0]["runId"] == run["runId"]
    assert "+new" in interlock("workspace", "diff", made["workspaceId"]).stdout
    assert interlock.json("workspace", "diff", made["workspaceId"])["changes"][0]["path"] == "b.txt"
    entries = interlock.json("workspace", "files", str(project))["entries"]
    assert {entry["path"] for entry in entries} >= {"a.py", "b.txt"}
    (project / "sub").mkdir()
    (project / "sub" / "deep.py").touch()
    assert "sub/deep.py" in interlock("workspace", "files", str(project), "sub").stdout
    again = interlock("workspace", "create", str(project), code=1)
    assert "WORKSPACE_EXISTS" in again.stderr


def test_steps_are_added_shown_skipped_and_retried(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, FALSE, READ, code=1)
    name = run["runId"]
    assert [step["number"] for step in interlock.json("step", "list", name)["steps"]] == [1, 2]
    shown = interlock("step", "show", name, "step-1").stdout
    assert re.search(r"exit code: +7\n", shown)
    assert "COMMAND_FAILED" in shown
    interlock("step", "retry", name, "1")
    interlock("approvals", "approve", _pending(interlock, name))
    assert interlock.json("run", "wait", name, code=1)["steps"][0]["attempt"] == 2
    interlock("step", "skip", name, "1", "--comment", "never mind")
    finished = interlock.json("run", "wait", name)
    assert [step["state"] for step in finished["steps"]] == ["STEP_STATE_SKIPPED", "STEP_STATE_SUCCEEDED"]
    closed = interlock("step", "add", name, "--plan", plan(project, READ), code=1)
    assert "RUN_WRONG_STATE" in closed.stderr


def _pending(interlock: Installation, run: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = interlock.json("approvals", "list", "--run", run)["approvals"]
        if found:
            return str(found[0]["approvalId"])
    raise AssertionError(f"nothing pending for {run}")
