"""Where things are mounted, whom steps run as, and which control groups there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import cgroups
from interlock.executor.sandbox.disk import measure
from interlock.executor.sandbox.identity import DEFAULT_STEP_UID, Identity, check_identity, step_identity
from interlock.executor.sandbox.rootfs import Mount, check_target, directory_system, parse_mounts, write_etc


@pytest.mark.parametrize(
    "target",
    [
        "/workspace",
        "/workspace/x",
        "/",
        "/proc",
        "/proc/sys",
        "/dev/x",
        "/sys",
        "/tmp/x",
        "/a/../workspace/x",
        "/..",
    ],
)
def test_forbidden_mount_targets(target: str) -> None:
    with pytest.raises(InterlockError) as caught:
        check_target(target)
    assert caught.value.field == "INTERLOCK_EXTRA_RO_MOUNTS"


def test_mounts_are_parsed(tmp_path: Path) -> None:
    assert parse_mounts([f"{tmp_path}:/opt/tools//x/"]) == (Mount(tmp_path, "/opt/tools/x"),)
    for bad in ("relative", f"{tmp_path}:relative", "/does/not/exist", f"{tmp_path}:/workspace/y", ""):
        with pytest.raises(InterlockError):
            parse_mounts([bad])


def test_a_root_file_system_is_mounted_entry_by_entry(tmp_path: Path) -> None:
    for name in ("usr", "etc", "proc", "dev", "tmp", "workspace"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    arguments = directory_system(tmp_path)
    assert arguments == [
        "--symlink", "usr/bin", "/bin", "--ro-bind", f"{tmp_path}/etc", "/etc", "--ro-bind", f"{tmp_path}/usr", "/usr",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(InterlockError) as caught:
        directory_system(tmp_path / "empty")
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE


def test_the_generated_etc_can_be_read_by_everybody(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_etc(tmp_path / "etc")
        write_etc(tmp_path / "etc")
    finally:
        os.umask(before)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in (tmp_path / "etc").iterdir())
    assert "step:x:1000:1000" in (tmp_path / "etc/passwd").read_text()


def test_root_is_refused() -> None:
    for identity in (Identity(0, 0, switch=True), Identity(0, 5, switch=False), Identity(5, 0, switch=True)):
        with pytest.raises(InterlockError) as caught:
            check_identity(identity)
        assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE


def test_the_uid_of_steps() -> None:
    found = step_identity({})
    if os.geteuid() == 0:
        assert found == Identity(DEFAULT_STEP_UID, DEFAULT_STEP_UID, switch=True)
        assert step_identity({"INTERLOCK_STEP_UID": "70000"}).uid == 70000
        with pytest.raises(InterlockError):
            step_identity({"INTERLOCK_STEP_UID": "0"})
    else:
        assert found == Identity(os.geteuid(), os.getegid(), switch=False)


def test_cgroups_v1_are_made_below_the_executors_own(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpuacct"):
        (tmp_path / name / "own").mkdir(parents=True)
    found = cgroups.find(tmp_path, "4:memory:/own\n8:pids:/own\n2:cpu,cpuacct:/own\n0::/\n")
    assert found is not None
    assert found.name == "cgroup-v1"
    assert set(found.parents) == {tmp_path / name / "own" for name in ("memory", "pids", "cpuacct")}


@pytest.mark.parametrize("text", ["", "0::/\n", "4:memory:/own\n", "4:memory:/none\n8:pids:/none\n"])
def test_without_control_groups(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory/own").mkdir(parents=True)
    assert cgroups.find(tmp_path, text) is None


def test_cgroup_v2(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "cgroup.controllers").write_text("memory pids")
    (own / "cgroup.controllers").write_text("cpu memory pids")
    (own / "cgroup.subtree_control").write_text("memory pids")
    found = cgroups.find(tmp_path, "0::/own\n")
    assert found is not None
    assert (found.name, found.parents) == ("cgroup-v2", (own,))
    (own / "cgroup.controllers").write_text("cpu")
    assert cgroups.find(tmp_path, "0::/own\n") is None


def test_left_groups_of_dead_processes_are_swept(tmp_path: Path) -> None:
    for name in ("memory/own", "pids/own"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / f"{cgroups.PREFIX}999999999-1").mkdir()
        (tmp_path / name / f"{cgroups.PREFIX}{os.getpid()}-1").mkdir()
    found = cgroups.find(tmp_path, "4:memory:/own\n8:pids:/own\n")
    assert found is not None
    assert cgroups.sweep(found) == 2
    assert (tmp_path / f"memory/own/{cgroups.PREFIX}{os.getpid()}-1").is_dir()


def test_measuring_an_upper_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(os.urandom(100_000))
    (tmp_path / "loop").symlink_to(tmp_path)
    size, entries = measure(str(tmp_path), 100)
    assert entries == 3
    assert size >= 100_000
    assert measure(str(tmp_path), 1)[1] == 2
    assert measure(str(tmp_path / "none"), 1) == (0, 0)
