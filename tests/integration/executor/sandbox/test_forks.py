"""How a workspace is forked is found out by trying, told, and makes no difference to what comes out."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.trees import Tree, read_tree, write_tree

from interlock.executor.files.root import Root
from interlock.executor.sandbox.base import Ending, Fork, Limits, SandboxSpec
from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.snapshots.clone import can_share_blocks, copy_tree
from interlock.executor.snapshots.model import Owner

TREE: Tree = {
    b"a": ("f", 0o644, b"a" * 100_000),
    b"empty": ("f", 0o600, b""),
    b"closed": ("f", 0o000, b"secret"),
    b"run": ("f", 0o755, b"#!/bin/sh\n"),
    b"link": ("l", b"../nowhere"),
    b"d": ("d", 0o755),
    b"d/e": ("d", 0o700),
    b"d/e/\xff": ("f", 0o444, b"odd"),
    b"shut": ("d", 0o000),
    b"none": ("d", 0o555),
}


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="interlock-forks-"))
    path.chmod(0o755)
    yield path
    subprocess.run(["umount", "--lazy", path / "merged"], check=False, capture_output=True)
    subprocess.run(["chmod", "-R", "u+rwX", path], check=False, capture_output=True)
    shutil.rmtree(path)


def test_a_copy_is_the_same(place: Path) -> None:
    source, target = place / "source", place / "target"
    source.mkdir()
    target.mkdir()
    write_tree(source, TREE)
    for path in (b"a", b"link", b"d/e/\xff"):
        os.utime(
            os.path.join(os.fsencode(source), path), ns=(1, 1_600_000_000_123_456_789), follow_symlinks=False
        )
    owner = Owner(64123, 64123) if os.geteuid() == 0 else None
    with Root.open(source) as old, Root.open(target) as new:
        copy_tree(old, new, owner)
    assert read_tree(target, mtimes=True) == read_tree(source, mtimes=True)
    if owner is not None:
        assert {os.lstat(each).st_uid for each in target.rglob("*")} == {owner.uid}
    (target / "a").write_bytes(b"changed")
    assert (source / "a").read_bytes() == b"a" * 100_000
    assert can_share_blocks(place) in (True, False)


def sandbox(place: Path, fork: str) -> BubblewrapSandbox:
    return BubblewrapSandbox(replace(Confinement.from_env(place / "private"), fork=fork))


@pytest.mark.parametrize("wanted", ["auto", "overlay", "copy"])
async def test_the_self_test_finds_what_works(place: Path, wanted: str) -> None:
    made = sandbox(place, wanted)
    probe = await made.probe(place)
    assert probe.usable, probe
    [told] = [check for check in probe.checks if check.name == "fork"]
    assert probe.tier.fork == made.tier.fork == ("copy" if wanted == "copy" else "overlay")
    assert told.ok
    assert told.detail.startswith(probe.tier.fork)
    assert ("INTERLOCK_FORK=copy" in told.detail) == (wanted == "copy")


@pytest.fixture
def merged(place: Path) -> Path:
    """A directory on an overlay, which cannot be the upper directory of another one."""
    for name in ("low", "up", "work", "merged"):
        (place / name).mkdir()
    options = f"lowerdir={place}/low,upperdir={place}/up,workdir={place}/work"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", place / "merged"]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no overlay can be mounted here: {mounted.stderr.strip()}")
    (place / "merged").chmod(0o755)
    return place / "merged"


async def test_where_overlays_do_not_work_forks_are_copies(place: Path, merged: Path) -> None:
    probe = await sandbox(place, "auto").probe(merged)
    assert probe.usable, probe
    assert probe.tier.fork == "copy"
    [told] = [check for check in probe.checks if check.name == "fork"]
    assert not told.ok
    assert not told.required
    assert "no overlay works here" in told.detail
    assert told.fix
    refused = await sandbox(place, "overlay").probe(merged)
    assert not refused.usable
    assert refused.tier.fork == "overlay"


async def test_what_a_copy_holds_is_not_written_by_the_step(place: Path) -> None:
    made = sandbox(place, "copy")
    for name in ("up", "wk"):
        (place / name).mkdir()
    for number in range(20):
        (place / "up" / f"f{number}").write_bytes(os.urandom(100_000))
    if made.identity.switch:
        for path in (place / "up", place / "wk", *(place / "up").iterdir()):
            os.chown(path, made.identity.uid, made.identity.gid)
    fork = Fork((), place / "up", place / "wk", held=(20 * 102_400, 20))
    limits = Limits(written_bytes=1_000_000, written_files=10)
    for line, limit in (
        ("for i in 1 2 3 4 5; do head -c 100000 /dev/zero > n$i; done; rm f1", ""),
        ("for i in $(seq 20); do echo x > m$i; done", "written_files"),
        ("head -c 2000000 /dev/urandom > big", "written_bytes"),
    ):
        done = await made.run(SandboxSpec(command=line, fork=fork, limits=limits))
        assert (done.exceeded.limit if done.exceeded else "") == limit, (line, done)
        assert (done.ending is Ending.EXITED) == (not limit)
        for left in (place / "up").glob("m*"):
            left.unlink()  # the next one would be over its limit before it begins
