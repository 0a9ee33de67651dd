"""The whole thing as somebody who is not root, with a home of their own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import Installation, snapshot
from tests.support.ordinary_user import as_user, python_for, someone

PLAN = """
goal: as an ordinary user
steps:
  - read_file: {path: a.py}
  - edit_file: {path: b.txt, new_content: "new\\n"}
  - {run_command: {command: 'id -u; cat a.py b.txt > c.txt; cat /proc/self/status | grep NoNewPrivs'}, gate: effect}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="every other test runs as an ordinary user already"),
]


@pytest.fixture
def user() -> Iterator[tuple[int, Path]]:
    """A uid and its home."""
    uid = someone()
    home = Path(tempfile.mkdtemp(prefix="interlock-user-"))
    os.chown(home, uid, uid)
    yield uid, home
    left = [each.cmdline() for each in Installation(home).processes()]
    shutil.rmtree(home, ignore_errors=True)
    assert left == []


@pytest.fixture
def python(user: tuple[int, Path]) -> str:
    """An interpreter this user can run, which finds what is installed here."""
    return python_for(*user)


def test_an_ordinary_user_runs_a_plan_and_undoes_it_with_two_commands(
    user: tuple[int, Path], python: str
) -> None:
    uid, home = user
    project, plan = home / "project", home / "plan.yaml"
    project.mkdir()
    (project / "a.py").write_text("print('a')\n")
    plan.write_text(PLAN)
    for path in (project, project / "a.py"):
        os.chown(path, uid, uid)
    before = snapshot(project)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    interlock = (python, "-m", "interlock.cli")
    given = ("run", "exec", "-w", str(project), "--plan", str(plan), "--approve", "all", "-o", "json")
    code, output, errors = as_user(uid, *interlock, *given, env=env)
    assert code == 0, errors + _logs(home)
    run = json.loads(output)
    assert run["state"] == "RUN_STATE_COMPLETED"
    assert (project / "c.txt").read_text() == "print('a')\nnew\n"
    assert (project / "c.txt").stat().st_uid == uid
    code, _, errors = as_user(uid, *interlock, "run", "rollback", run["runId"], env=env)
    assert code == 0, errors
    assert snapshot(project) == before


def test_doctor_says_why_an_ordinary_user_has_no_containers(user: tuple[int, Path], python: str) -> None:
    uid, home = user
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "INTERLOCK_SANDBOX": "oci"}
    code, output, errors = as_user(uid, python, "-m", "interlock.cli", "doctor", "-o", "json", env=env)
    assert code == 1, errors
    findings = {each["check"]: each for each in json.loads(output)["findings"]}
    assert findings["sandbox"]["level"] == "missing"
    assert "run by root" in findings["sandbox"]["detail"]
    assert "as root" in findings["sandbox"]["fix"]


def _logs(home: Path) -> str:
    logs = home / ".local" / "share" / "interlock" / "logs"
    return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(logs.glob("*.log")))
