"""Access below a directory: names, openat2 and its fallback, races, bounded reads, removal."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import (
    Root,
    kernel,
    list_directory,
    read_regular,
    remove_tree,
    split_path,
    to_bytes,
    to_text,
)
from interlock.executor.files.names import clean_path, shown


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of opening: in the kernel, and component by component."""
    if request.param == "walk":
        monkeypatch.setattr(kernel.state, "openat2", False)
    elif not kernel.has_openat2():
        pytest.skip("this kernel has no openat2")
    return str(request.param)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", Reason.INVALID_ARGUMENT),
        (".", Reason.INVALID_ARGUMENT),
        ("./", Reason.INVALID_ARGUMENT),
        ("a\0b", Reason.INVALID_ARGUMENT),
        ("a" * 256, Reason.INVALID_ARGUMENT),
        ("a/" * 2001, Reason.INVALID_ARGUMENT),
        ("\ud800", Reason.INVALID_ARGUMENT),
        ("/etc/passwd", Reason.PATH_OUTSIDE_WORKSPACE),
        ("..", Reason.PATH_OUTSIDE_WORKSPACE),
        ("a/../b", Reason.PATH_OUTSIDE_WORKSPACE),
        ("a/..", Reason.PATH_OUTSIDE_WORKSPACE),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, str) else None,
)
def test_paths_that_are_refused(path: str, reason: Reason) -> None:
    with pytest.raises(InterlockError) as caught:
        split_path(path)
    assert caught.value.reason is reason
    assert caught.value.field == "path"
    assert caught.value.fix


def test_paths_are_brought_to_one_form() -> None:
    assert split_path("./a//b/./c/") == (b"a", b"b", b"c")
    assert clean_path("..a/b..") == b"..a/b.."
    assert split_path("", allow_root=True) == ()
    assert split_path("\udcff") == (b"\xff",)


@given(st.binary(min_size=1, max_size=80).filter(lambda n: b"\0" not in n))
def test_every_name_makes_the_round_trip(name: bytes) -> None:
    assert to_bytes(to_text(name)) == name
    text = shown(name)
    assert text.isprintable()
    assert "\n" not in text
    text.encode("utf-8")


def build(top: Path) -> None:
    (top / "ws" / "d").mkdir(parents=True)
    (top / "ws" / "d" / "f").write_text("inside")
    (top / "out").mkdir()
    (top / "out" / "f").write_text("SECRET")
    for name, target in (
        ("rel", "d/f"),
        ("abs", "/etc/passwd"),
        ("up", "../out/f"),
        ("dirlink", "../out"),
        ("magic", "/proc/self/root"),
        ("loop", "loop"),
    ):
        (top / "ws" / name).symlink_to(target)
    os.mkfifo(top / "ws" / "fifo")


def test_what_can_be_read_and_what_cannot(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path)
    monkeypatch.chdir(tmp_path / "ws")  # a socket's address is short
    with socket.socket(socket.AF_UNIX) as server, Root.open(tmp_path / "ws") as root:
        server.bind("sock")
        assert read_regular(root, "d/f", limit=100).data == b"inside"
        assert read_regular(root, "d/f", offset=2, limit=3).data == b"sid"
        assert read_regular(root, "d/f", offset=99, limit=3) == (
            b"",
            99,
            6,
            read_regular(root, "d/f", limit=0).mode,
            "",
        )
        if way == "openat2":
            assert read_regular(root, "rel", limit=100).data == b"inside"
        for path, reason in {
            "abs": Reason.PATH_OUTSIDE_WORKSPACE,
            "up": Reason.PATH_OUTSIDE_WORKSPACE,
            "dirlink/f": Reason.PATH_OUTSIDE_WORKSPACE,
            "magic/etc/passwd": Reason.PATH_OUTSIDE_WORKSPACE,
            "loop": Reason.PATH_OUTSIDE_WORKSPACE,
            "fifo": Reason.PATH_NOT_REGULAR,
            "sock": Reason.PATH_NOT_REGULAR,
            "d": Reason.PATH_IS_DIRECTORY,
            "none": Reason.PATH_NOT_FOUND,
            "d/f/x": Reason.PATH_NOT_FOUND,
        }.items():
            with pytest.raises(InterlockError) as caught:
                read_regular(root, path, limit=100)
            assert caught.value.reason is reason, path
            assert "SECRET" not in str(caught.value)
        with pytest.raises(InterlockError) as caught:
            read_regular(root, "d/f", offset=-1, limit=1)
        assert caught.value.reason is Reason.INVALID_ARGUMENT


def test_listing(tmp_path: Path, way: str) -> None:
    build(tmp_path)
    with Root.open(tmp_path / "ws") as root:
        found = {item.name: item.kind for item in list_directory(root)}
        assert found["d"] == "directory"
        assert found["rel"] == "symlink"
        assert found["fifo"] == "other"
        assert [item.name for item in list_directory(root, limit=2)] == ["abs", "d"]
        assert [(i.name, i.size) for i in list_directory(root, "d")] == [("f", 6)]
        with pytest.raises(InterlockError):
            list_directory(root, "dirlink")


def test_a_directory_exchanged_with_a_symlink_never_leads_out(tmp_path: Path, way: str) -> None:
    build(tmp_path)
    (tmp_path / "ws" / "evil").symlink_to("../out")
    libc, stop = kernel._libc, threading.Event()

    def exchange() -> None:
        a, b = bytes(tmp_path / "ws" / "d"), bytes(tmp_path / "ws" / "evil")
        while not stop.is_set():
            libc.syscall(kernel._SYS_RENAMEAT2, -100, a, -100, b, 2)

    racer = threading.Thread(target=exchange)
    racer.start()
    seen: set[Any] = set()
    try:
        with Root.open(tmp_path / "ws") as root:
            for _ in range(3000):
                try:
                    seen.add(read_regular(root, "d/f", limit=100).data)
                except InterlockError as error:
                    seen.add(error.reason)
    finally:
        stop.set()
        racer.join()
    assert b"SECRET" not in seen
    assert b"inside" in seen


def test_nothing_below_a_mount_is_opened(way: str) -> None:
    with Root.open("/") as root, pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        os.close(root.open_dir(b"proc"))


def test_rename_new_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (kernel._SYS_RENAMEAT2, None):
        monkeypatch.setattr(kernel, "_SYS_RENAMEAT2", number)
        (tmp_path / "a").write_text("a")
        (tmp_path / "b").write_text("b")
        with Root.open(tmp_path) as root:
            with pytest.raises(FileExistsError):
                kernel.rename_new(root.fd, b"a", root.fd, b"b")
            kernel.rename_new(root.fd, b"a", root.fd, b"c")
        assert (tmp_path / "b").read_text() == "b"
        assert (tmp_path / "c").read_text() == "a"
        (tmp_path / "c").unlink()


def test_removal_of_what_shutil_cannot_remove(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("x")
    top = tmp_path / "doomed"
    top.mkdir()
    (top / "link").symlink_to(tmp_path / "outside")
    for name in ("shut", ".interlock-doomed-1", ".interlock-doomed-2"):
        (top / name / "in" / "deeper").mkdir(parents=True)
        (top / name / "in" / "f").write_text("x")
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 10, dir_fd=here)
        deeper = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("bottom", os.O_CREAT, 0o600, dir_fd=here))
    os.close(here)
    (top / "shut" / "in").chmod(0)
    (top / "shut").chmod(0)
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_tree(parent, b"doomed")
    remove_tree(parent, b"doomed")
    os.close(parent)
    assert os.listdir(tmp_path) == ["outside"]
    assert (tmp_path / "outside" / "kept").exists()


def test_an_exact_path_has_no_symlink_anywhere(way: str, tmp_path: Path) -> None:
    here = Path(os.path.realpath(tmp_path))
    (here / "a/b").mkdir(parents=True)
    (here / "link").symlink_to(here / "a")
    (here / "a/last").symlink_to(here / "a/b")
    (here / "a/b/file").touch()
    with Root.open_exact(here / "a/b") as root:
        assert os.listdir(root.fd) == ["file"]
    for path in ("link/b", "a/last", "link", "a/b/file", "a/none"):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory|No such file"):
            Root.open_exact(here / path)
