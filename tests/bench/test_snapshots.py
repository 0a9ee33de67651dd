"""Snapshots as ratios within one run: against a shadow git repository doing the same, and import against `cp -a`.

One cycle of Interlock is fork (looking for others' changes), capture, publish, rollback and discard, through the real
`Workspaces`, everything durable: the snapshot, and every file of the directory before and after. Files that were
replaced are removed by a thread meanwhile; what is left of that when the cycle ends is waited for and shown as
`behind`, outside of the ratio.

One cycle of git is `add -A -f`, write-tree, commit-tree, read-tree and clean in a separate GIT_DIR. `git` is git with
its defaults, which fsyncs nothing of this; `durable git` has `core.fsync=all` in its fastest way
(`core.fsyncMethod=batch`), which makes the snapshot durable but not the files that it restores.

What a step writes to its fork is written to the upper directory as the overlay would, before the clock starts for all.
Each cycle starts when nothing of the one before is left to be written.

`BENCH_FULL=1` (make bench-parts) adds a tree of 100,000 files. Figures go to .bench/snapshots.json, or `BENCH_OUT`.
Nothing here asserts a time.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from interlock.executor.workspaces import DirectorySource, Fork, Owner, Workspaces

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
SIZES = (1_000, 10_000, 100_000) if os.environ.get("BENCH_FULL") else (1_000, 10_000)
ROUNDS = {1: 7, 1_000: 3}
FILES_PER_DIRECTORY = 50
COPIES = ("one", "two")
GITS = ("git", "durable git")
OUT = Path(os.environ.get("BENCH_OUT", Path(__file__).parents[2] / ".bench"))
OWNER = Owner(65433, 65433) if os.geteuid() == 0 else None


class Clock:
    """Seconds by name, a list for each."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seen.setdefault(name, []).append(time.perf_counter() - started)

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.seen.items()}


def make_tree(top: Path, files: int) -> list[str]:
    """Text files of 100 bytes to 8 KB, fifty to a directory, twenty such directories in one."""
    words = ("def return class self import value " * 300).encode()
    paths = []
    for number in range(files):
        group = number // FILES_PER_DIRECTORY
        directory = top / f"package{group // 20}" / f"part{group % 20}"
        if number % FILES_PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        path = directory / f"module_{number}.py"
        path.write_bytes(b"# %d\n" % number + words[: 100 + number * 7919 % 8000])
        paths.append(str(path.relative_to(top)))
    return paths


def changed(paths: list[str], count: int) -> list[str]:
    """`count` of the paths, spread over the whole tree."""
    return paths[:: max(1, len(paths) // count)][:count]


def write_all(top: Path, paths: list[str], mark: str) -> None:
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(f"changed {mark} {path}\n")


def interlock_cycle(spaces: Workspaces, workspace: str, paths: list[str], mark: str, clock: Clock) -> None:
    before = spaces.get(workspace).head
    with clock.of("fork"):
        fork: Fork = spaces.fork(workspace)
    write_all(fork.upper, paths, mark)
    with clock.of("capture"):
        capture = spaces.capture(fork)
    with clock.of("publish"):
        spaces.publish(workspace, capture.base_tree, capture.result_tree, fork=fork, key=mark)
    with clock.of("rollback"):
        spaces.rollback(workspace, before, key="back" + mark)
    with clock.of("discard"):
        spaces.discard(fork)
    with clock.of("behind"):
        spaces.drain()
    assert fork.drift is None
    assert len(capture.changes) == len(paths)
    assert spaces.get(workspace).head == before


class Git:
    """A repository beside a work tree, as tools that take checkpoints with git keep one."""

    def __init__(self, directory: Path, work: Path) -> None:
        none = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = {
            f"GIT_{role}_{what}": "b@example.org"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        self.env = {
            "PATH": os.environ["PATH"],
            "GIT_DIR": str(directory),
            "GIT_WORK_TREE": str(work),
            **none,
            **who,
        }
        self.work = work
        self.run("init", "-q")
        self.run("config", "gc.auto", "0")

    def make_durable(self) -> None:
        self.run("config", "core.fsync", "all")
        self.run("config", "core.fsyncMethod", "batch")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], env=self.env, cwd=self.work, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def snapshot(self) -> str:
        self.run("add", "-A", "-f")
        return self.run("commit-tree", "-m", "step", self.run("write-tree"))


def git_cycle(name: str, git: Git, before: str, paths: list[str], mark: str, clock: Clock) -> None:
    write_all(git.work, paths, mark)
    with clock.of(f"{name} snapshot"):
        git.snapshot()
    with clock.of(f"{name} restore"):
        git.run("read-tree", "--reset", "-u", before)
        git.run("clean", "-f", "-d", "-x", "-q")


def timed(action: Callable[[], object]) -> float:
    os.sync()
    started = time.perf_counter()
    action()
    os.sync()
    return time.perf_counter() - started


@pytest.mark.parametrize("files", SIZES)
def test_snapshots(files: int, capsys: pytest.CaptureFixture[str]) -> None:
    room = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
    room.chmod(0o755)
    try:
        report = measure(room, files)
    finally:
        shutil.rmtree(room)
    save(report)
    with capsys.disabled():
        print("\n" + "\n".join(lines(report)))


def measure(room: Path, files: int) -> dict[str, object]:
    live = room / "live"
    live.mkdir()
    paths = make_tree(live, files)
    copied = [timed(partial(subprocess.run, ["cp", "-a", live, room / name], check=True)) for name in COPIES]
    spaces = Workspaces(room / "executor", owner=OWNER)
    imported = timed(lambda: spaces.create(DirectorySource(live)))
    workspace = spaces.list_workspaces()[0].id
    gits = {name: Git(room / name, room / copy) for name, copy in zip(GITS, COPIES, strict=True)}
    first = [timed(git.snapshot) for git in gits.values()]
    gits["durable git"].make_durable()
    heads = {name: git.snapshot() for name, git in gits.items()}
    changes = {}
    for count in (1, 1_000):
        clock = Clock()
        for number in range(ROUNDS[count] + 1):
            measured = clock if number else Clock()  # the first fills caches on both sides
            some, mark = changed(paths, count), f"{count}-{number}"
            os.sync()
            interlock_cycle(spaces, workspace, some, mark, measured)
            for name, git in gits.items():
                os.sync()
                git_cycle(name, git, heads[name], some, mark, measured)
        changes[count] = clock.medians()
    with_close = timed(spaces.close)
    return {
        "files": files,
        "machine": f"{os.cpu_count()} processors, {platform.release()}",
        "load": os.getloadavg(),
        "import": {"cp -a": min(copied), "interlock": imported, "git": min(first), "close": with_close},
        "changes": changes,
    }


def lines(report: dict[str, object]) -> Iterator[str]:
    brought, changes = report["import"], report["changes"]
    assert isinstance(brought, dict)
    assert isinstance(changes, dict)
    yield (
        f"{report['files']:>7} files: import {brought['interlock']:.2f} s = "
        f"{brought['interlock'] / brought['cp -a']:.1f} x cp -a ({brought['cp -a']:.2f} s), "
        f"{brought['interlock'] / brought['git']:.2f} x git's first add ({brought['git']:.2f} s)"
    )
    for count, seconds in changes.items():
        ours = sum(seconds[name] for name in ("fork", "capture", "publish", "rollback", "discard"))
        ratios = {name: (seconds[f"{name} snapshot"] + seconds[f"{name} restore"]) / ours for name in GITS}
        each = ", ".join(f"{name} {value * 1000:.1f}" for name, value in seconds.items())
        yield (
            f"{report['files']:>7} files, {count:>4} changed: git takes {ratios['git']:6.1f} x as long, "
            f"durable git {ratios['durable git']:6.1f} x ({each} ms)"
        )


def save(report: dict[str, object]) -> None:
    OUT.mkdir(exist_ok=True)
    path = OUT / "snapshots.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[str(report["files"])] = report
    path.write_text(json.dumps(known, indent=2) + "\n")
