from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.devices import NODES, faults, open_null, require_devices

NOBODY = 2**31 - 2


def test_this_machine_has_its_devices() -> None:
    assert faults(NOBODY) == []
    require_devices(NOBODY)


@pytest.mark.parametrize(
    ("number", "told"), [((1, 5), "not the character device 1:5"), ((9, 9), "not the character device 9:9")]
)
def test_a_device_of_another_number(number: tuple[int, int], told: str) -> None:
    assert faults(NOBODY, {"/dev/null": number}) == [f"/dev/null: it is {told}"]


def test_a_file_in_the_place_of_a_device_is_named_with_what_to_do(tmp_path: Path) -> None:
    """What is left when somebody moves a file to /dev/null."""
    path = tmp_path / "null"
    path.write_bytes(b"")
    with pytest.raises(InterlockError) as caught:
        require_devices(NOBODY, {str(path): (1, 3)})
    assert (caught.value.reason, caught.value.field) == (Reason.SANDBOX_UNAVAILABLE, str(path))
    assert f"mknod -m 666 {path} c 1 3" in caught.value.fix
    path.unlink()
    assert faults(NOBODY, {str(path): (1, 3)}) == [f"{path}: No such file or directory"]


def test_a_device_that_steps_own_or_that_is_closed(tmp_path: Path) -> None:
    owner = os.stat("/dev/null").st_uid
    assert "belongs to the uid of steps" in faults(owner)[0]
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"no device can be made here: {error.strerror}")
    assert faults(NOBODY, {str(path): (1, 3)}) == [f"{path}: its mode is 0600, not 0666"]
    path.chmod(0o666)
    assert faults(NOBODY, {str(path): (1, 3)}) == []


def test_a_null_of_ones_own_is_empty_and_not_the_machines(tmp_path: Path) -> None:
    fd = open_null(tmp_path)
    try:
        assert os.read(fd, 1) == b""
        assert not os.path.samestat(os.fstat(fd), os.stat("/dev/null"))
    finally:
        os.close(fd)


def test_where_no_device_can_be_made_it_is_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "null").write_bytes(b"in the way")
    fd = open_null(tmp_path)
    try:
        assert (os.read(fd, 1), stat.S_ISFIFO(os.fstat(fd).st_mode)) == (b"", True)
    finally:
        os.close(fd)


def test_which_devices_there_are() -> None:
    assert {name: NODES[name] for name in ("/dev/null", "/dev/urandom")} == {
        "/dev/null": (1, 3),
        "/dev/urandom": (1, 9),
    }
