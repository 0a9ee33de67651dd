"""Undo and waiting in line, from the command line, on everything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import INTERLOCK, SECONDS, Installation

pytestmark = pytest.mark.slow

PLAN = """\
goal: two files
policy: {steps_may_weaken: true}
steps:
  - {run_command: {command: "printf '1\\n2\\n3\\n4\\n5\\n' > a.txt; echo x > b.txt"}, gate: none}
  - {run_command: {command: "sed -i s/5/five/ a.txt; echo y > c.txt"}, gate: none}
  - {run_command: {command: "sed -i s/1/one/ a.txt"}, gate: none}
"""
ASKS = """\
goal: wait for a person
steps:
  - {run_command: {command: "echo z > d.txt"}}
"""


class Cli:
    """`interlock` on an installation."""

    def __init__(self, up: Installation) -> None:
        self._env = up.env

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*INTERLOCK, *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json").stdout)


def plan(directory: Path, text: str) -> str:
    path = directory.with_suffix(".yaml")
    path.write_text(text)
    return str(path)


def test_a_step_is_reverted_and_tried_again(up: Installation) -> None:
    interlock, project = Cli(up), up.project(keep="mine\n")
    run = interlock.json("run", "exec", "-w", str(project), "--plan", plan(project, PLAN))["runId"]
    dry = interlock("step", "revert", run, "2", "--dry-run").stdout
    assert "would be at" in dry
    assert "would be kept" in dry
    assert "-five" in dry
    assert (project / "c.txt").exists()
    said = interlock("step", "revert", run, "2", "-m", "not this").stdout
    assert "What changed since the step is kept." in said
    assert "deleted c.txt" in said
    assert (project / "a.txt").read_text() == "one\n2\n3\n4\n5\n"
    assert "undone by revert" in interlock("run", "get", run).stdout
    assert "revert op-" in interlock("step", "show", run, "2").stdout
    refused = interlock("step", "revert", run, "2", code=1)
    assert "undone already" in refused.stderr
    conflict = interlock("step", "revert", run, "1", code=1)
    assert "a.txt" in conflict.stderr
    assert "REVERT_CONFLICT" in conflict.stderr
    interlock("step", "retry", run, "2")
    assert "reopened" in interlock("run", "get", run).stdout
    interlock("run", "resume", run)
    interlock("run", "wait", run)
    assert (project / "a.txt").read_text() == "one\n2\n3\n4\nfive\n"
    interlock("run", "rollback", run)
    assert sorted(path.name for path in project.iterdir()) == ["keep"]
    assert interlock("run", "get", run).stdout.count("undone by rollback") == 3
    assert "Verified" in interlock("journal", "verify", run).stdout
    bundle = str(project.with_suffix(".bundle"))
    interlock("journal", "export", run, "--file", bundle)
    assert "Verified" in interlock("journal", "verify", bundle).stdout


def test_a_rollback_goes_around_what_others_did(up: Installation) -> None:
    interlock, project = Cli(up), up.project(keep="mine\n")
    run = interlock.json("run", "exec", "-w", str(project), "--plan", plan(project, PLAN))["runId"]
    (project / "theirs").write_text("theirs\n")
    (project / "c.txt").write_text("mine now\n")
    for more in ([], ["--dry-run"]):
        conflict = interlock("run", "rollback", run, *more, code=1)
        assert "REVERT_CONFLICT" in conflict.stderr
        assert "c.txt" in conflict.stderr
        assert "--discard-later-changes" in conflict.stderr
    (project / "c.txt").unlink()
    looked = interlock("run", "rollback", run, "--dry-run")
    assert "deleted a.txt" in looked.stdout
    assert "Nothing was changed." in looked.stderr
    said = interlock("run", "rollback", run).stdout
    assert "What others changed since is kept." in said
    assert "theirs" not in said
    assert sorted(path.name for path in project.iterdir()) == ["keep", "theirs"]
    assert "workspace.drift_adopted" in interlock("journal", "show", run).stdout
    interlock("run", "rollback", run, "--discard-later-changes")
    assert sorted(path.name for path in project.iterdir()) == ["keep"]


def test_a_second_run_is_refused_or_waits(up: Installation) -> None:
    interlock, project = Cli(up), up.project(keep="mine\n")
    asks = plan(project, ASKS)
    first = interlock.json("run", "start", "-w", str(project), "--plan", asks)["runId"]
    refused = interlock("run", "start", "-w", str(project), "--plan", asks, code=1)
    assert "WORKSPACE_BUSY" in refused.stderr
    assert first in refused.stderr
    said = interlock("run", "start", "-w", str(project), "--plan", asks, "--wait-for-workspace", "-o", "json")
    second = json.loads(said.stdout)["runId"]
    assert f"{first} has it" in said.stderr
    assert f"its workspace, which {first} has" in interlock("run", "get", second).stdout
    interlock("run", "cancel", first)
    interlock("run", "wait", second, code=3)
    interlock("approvals", "approve", second)
    interlock("run", "wait", second)
    assert (project / "d.txt").read_text() == "z\n"
