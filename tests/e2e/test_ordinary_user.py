"""The whole thing as somebody who is not root, with a home of their own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import Installation, snapshot

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = Path("/usr/bin/python3")
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


def as_user(
    uid: int, *command: str, env: dict[str, str] | None = None, seconds: int = 100
) -> tuple[int, str, str]:
    """Run it with that uid and gid, and none of root's groups."""
    done = subprocess.run(
        command, user=uid, group=uid, extra_groups=[], env=env, cwd="/", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def someone() -> int:
    """The uid of a user of this machine that no service runs as. PostgreSQL wants one with a name."""
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return next(names[name] for name in ("games", "nobody", "daemon") if name in names)


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
    """An interpreter this user can run, which finds what is installed here.

    The tests' own, or else the system's of the same version in a virtual environment that borrows the installed
    packages by a path file: nothing is copied.
    """
    uid, home = user
    mine = (sys.executable, "-c", "import interlock.cli")
    if _runs(uid, *mine):
        return sys.executable
    version = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"
    if not SYSTEM_PYTHON.exists() or not _runs(uid, str(SYSTEM_PYTHON), "-c", version):
        pytest.skip(f"uid {uid} can execute neither {sys.executable} nor a {SYSTEM_PYTHON} of its version")
    venv = home / "venv"
    code, _, errors = as_user(uid, str(SYSTEM_PYTHON), "-m", "venv", "--without-pip", str(venv))
    assert code == 0, errors
    packages = venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "borrowed.pth"
    borrowed = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    packages.write_text(f"import site; site.addsitedir({borrowed!r})\n")
    assert _runs(uid, str(venv / "bin" / "python"), "-c", "import interlock.cli"), "the packages are readable"
    return str(venv / "bin" / "python")


def _runs(uid: int, *command: str) -> bool:
    try:
        return as_user(uid, *command, env={"PATH": "/usr/bin:/bin"})[0] == 0
    except PermissionError:
        return False


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


def _logs(home: Path) -> str:
    logs = home / ".local" / "share" / "interlock" / "logs"
    return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(logs.glob("*.log")))
