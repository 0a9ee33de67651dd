"""Workspaces in the test's own process, and programs that use them in others, as root's step user or as themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.executor.workspaces import Owner, Workspaces

REPOSITORY = Path(__file__).parents[4]
SOURCES = [REPOSITORY, *(REPOSITORY / "services" / name / "src" for name in ("common", "executor"))]
STEP = Owner(65433, 65433)
IS_ROOT = os.geteuid() == 0


def owner() -> Owner | None:
    return STEP if IS_ROOT else None


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that every user can reach (pytest's own tmp_path is closed to other users).

    In memory where possible: these tests sync much, and a killed process loses no page cache.
    """
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="interlock-room-", dir=where))
    os.chmod(path, 0o755)
    yield path
    subprocess.run(["chmod", "-R", "u+rwX", path], check=False, capture_output=True)
    shutil.rmtree(path)


@pytest.fixture
def live(room: Path) -> Path:
    path = room / "live"
    path.mkdir()
    return path


@pytest.fixture
def open_spaces(room: Path) -> Iterator[Callable[..., Workspaces]]:
    opened: list[Workspaces] = []

    def make(name: str = "executor", **options: Any) -> Workspaces:
        options.setdefault("owner", owner())
        options.setdefault("copy_forks", True)
        opened.append(Workspaces(room / name, **options))
        return opened[-1]

    yield make
    for spaces in opened:
        spaces.close()


@pytest.fixture
def spaces(open_spaces: Callable[..., Workspaces]) -> Workspaces:
    return open_spaces()


@pytest.fixture(params=[5, pytest.param(1, marks=pytest.mark.torture)], ids=["one in five", "every one"])
def stride(request: pytest.FixtureRequest) -> int:
    """From one point of a matrix to the next that is tried: `make torture` tries every one."""
    assert isinstance(request.param, int)
    return request.param


@pytest.fixture(scope="session")
def processes() -> Iterator[Callable[[int | None], subprocess.Popen[bytes]]]:
    """`tests/support/workspace_program.py` as this process's user (None) or another, started once for each.

    What it is asked is done in a fork of it.
    """
    started: dict[int | None, subprocess.Popen[bytes]] = {}

    def process(uid: int | None) -> subprocess.Popen[bytes]:
        if uid not in started:
            user: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": []} if uid is not None else {}
            started[uid] = subprocess.Popen(
                ["/usr/bin/python3" if user else sys.executable, "-m", "tests.support.workspace_program"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env={"PYTHONPATH": ":".join(map(str, SOURCES)), "PYTHONDONTWRITEBYTECODE": "1"},
                **user,
            )
        return started[uid]

    yield process
    for each in started.values():
        with each:
            assert each.stdin is not None
            each.stdin.close()


class Program:
    """Asks the program's process of one user about one executor's directory."""

    def __init__(self, root: Path, uid: int | None, process: subprocess.Popen[bytes]) -> None:
        self.root, self.uid, self.process = root, uid, process

    def run(self, do: str, failpoint: str = "", **arguments: Any) -> dict[str, Any] | None:
        """The program's answer, or None when it was killed at its failpoint."""
        owner = [STEP.uid, STEP.gid] if self.uid is None and IS_ROOT else None
        ask = {"root": str(self.root), "owner": owner, "failpoint": failpoint, "do": do, **arguments}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(ask).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] | None = json.loads(self.process.stdout.readline())
        assert answer is not None or failpoint
        assert "crash" not in (answer or {}), answer
        return answer

    def give(self, path: Path) -> None:
        """Make a tree the program's user's."""
        if self.uid is not None:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", path], check=True)


@pytest.fixture(params=["own-user", "ordinary-user"])
def program(
    request: pytest.FixtureRequest, room: Path, processes: Callable[[int | None], subprocess.Popen[bytes]]
) -> Program:
    """As this process's user (as root with a step user, if it is root), and as an ordinary user."""
    (room / "state").mkdir()
    uid = None
    if request.param == "ordinary-user":
        if not IS_ROOT:
            pytest.skip("this process is an ordinary user: the other parameter shows it")
        uid = 65434
    made = Program(room / "state" / "executor", uid, processes(uid))
    made.give(room / "state")
    return made
