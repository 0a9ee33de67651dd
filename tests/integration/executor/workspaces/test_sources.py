"""Creating workspaces: from directories, clones and archives; what is refused, and that nothing of it stays."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import os
import socket
import stat
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from tests.support.trees import Tree, read_tree, trees, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.scan import Progress
from interlock.executor.workspaces import ArchiveSource, DirectorySource, GitSource, Limits, Workspaces

SMALL: Tree = {
    b"a": ("f", 0o644, b"a\n"),
    b"d": ("d", 0o755),
    b"d/x": ("f", 0o755, b"x"),
    b"l": ("l", b"d/x"),
}


def refused(reason: Reason, act: Callable[[], Any], spaces: Workspaces) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        act()
    assert caught.value.reason is reason, caught.value
    assert spaces.list_workspaces() == []
    assert os.listdir(spaces._layout.workspaces) == []
    assert os.listdir(spaces._layout.live) == []
    return caught.value


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=trees())
def test_an_import_shows_the_directory_exactly_and_leaves_it_alone(
    tree: Tree, spaces: Workspaces, room: Path
) -> None:
    live = room / "case"
    live.mkdir()
    write_tree(live, tree)
    workspace = spaces.create(DirectorySource(live), labels={"k": "v"})
    base = spaces._layout.base(workspace.id)
    assert read_tree(base, mtimes=True) == read_tree(live, mtimes=True)
    assert read_tree(live) == tree
    assert workspace == spaces.get(workspace.id)
    assert workspace.entries == len(tree)
    assert workspace.content_bytes == sum(len(v[2]) for v in tree.values() if v[0] == "f")
    listed = {
        os.fsencode(item.path): item.node for item in spaces.list_files(workspace.id, limit=10_000).paths
    }
    assert listed.keys() == tree.keys()
    for path, value in tree.items():
        if value[0] == "f":
            text = os.fsdecode(path)
            assert spaces.read_file(workspace.id, text, tree=workspace.head).data == value[2]
            assert spaces.read_file(workspace.id, text).data == value[2]
    spaces.remove(workspace.id)
    assert read_tree(live) == tree
    assert not base.exists()
    subprocess.run(["rm", "-rf", live], check=True)


def test_pages_of_a_listing_join_to_the_whole(spaces: Workspaces, live: Path) -> None:
    tree: Tree = {**SMALL, b"a-b": ("d", 0o755), b"a-b/c": ("f", 0o644, b""), b"d/y": ("d", 0o700)}
    write_tree(live, tree)
    workspace = spaces.create(DirectorySource(live))
    whole = [item.path for item in spaces.list_files(workspace.id).paths]
    assert whole == ["a", "a-b", "a-b/c", "d", "d/x", "d/y", "l"]
    for size in (1, 2, 3):
        seen: list[str] = []
        page = spaces.list_files(workspace.id, limit=size)
        while True:
            seen += [item.path for item in page.paths]
            if not page.next_after:
                break
            page = spaces.list_files(workspace.id, limit=size, after=page.next_after)
        assert seen == whole
    assert [item.path for item in spaces.list_files(workspace.id, prefix="d").paths] == ["d/x", "d/y"]
    assert [item.path for item in spaces.list_files(workspace.id, prefix="a").paths] == ["a"]
    with pytest.raises(InterlockError, match="no nothing"):
        spaces.list_files(workspace.id, prefix="nothing")


def test_places_that_cannot_be_a_workspace(spaces: Workspaces, room: Path, live: Path) -> None:
    (room / "link").symlink_to(live)
    (room / "file").write_text("x")
    inside = spaces._layout.root / "inside"
    inside.mkdir()
    for path in (
        Path("/"),
        Path("/proc"),
        Path("/sys/kernel"),
        Path("relative"),
        room / "absent",
        room / "link",
        room / "file",
        room,
        spaces._layout.root,
        inside,
    ):
        refused(
            Reason.WORKSPACE_SOURCE_INVALID, lambda path=path: spaces.create(DirectorySource(path)), spaces
        )


def test_directories_of_two_workspaces_never_overlap(spaces: Workspaces, live: Path) -> None:
    (live / "inner").mkdir()
    (live / "inner" / "deeper").mkdir()
    first = spaces.create(DirectorySource(live / "inner"))
    for path in (live, live / "inner", live / "inner" / "deeper"):
        with pytest.raises(InterlockError) as caught:
            spaces.create(DirectorySource(path))
        assert caught.value.reason is Reason.WORKSPACE_EXISTS
        assert caught.value.metadata == {"workspace": first.id}
    with pytest.raises(InterlockError) as caught:
        spaces.create(DirectorySource(live / "inner2"), workspace=first.id)
    assert caught.value.reason in (Reason.WORKSPACE_EXISTS, Reason.WORKSPACE_SOURCE_INVALID)


def test_limits_are_enforced_and_named(open_spaces: Callable[..., Workspaces], live: Path) -> None:
    write_tree(
        live, {**SMALL, b"d/e": ("d", 0o755), b"d/e/f": ("d", 0o755), b"d/e/f/g": ("f", 0o644, b"g" * 100)}
    )
    for limits, words in (
        (Limits(entries=3), "4 files, directories and links or more, and may have 3"),
        (Limits(content_bytes=50), "bytes of content or more, and may have 50"),
        (Limits(file_bytes=99), "100 bytes or more, and may have 99: d/e/f/g"),
        (Limits(depth=3), "4 levels of directories or more, and may have 3"),
    ):
        spaces = open_spaces(f"limits-{words.replace(' ', '')[:9]}", limits=limits)
        error = refused(
            Reason.WORKSPACE_LIMIT_EXCEEDED,
            lambda spaces=spaces: spaces.create(DirectorySource(live)),
            spaces,
        )
        assert words in str(error)
    assert open_spaces("enough", limits=Limits(entries=7, depth=4)).create(DirectorySource(live)).entries == 7


def test_an_effect_beyond_the_limits_is_refused(open_spaces: Callable[..., Workspaces], live: Path) -> None:
    write_tree(live, SMALL)
    spaces = open_spaces("small", limits=Limits(entries=4, content_bytes=10))
    workspace = spaces.create(DirectorySource(live))
    for path, content, words in (("new", b"", "may have 4"), ("a", b"x" * 11, "may have 10")):
        with pytest.raises(InterlockError, match=words) as caught:
            spaces.edit(workspace.id, workspace.head, path, content)
        assert caught.value.reason is Reason.WORKSPACE_LIMIT_EXCEEDED


def test_sockets_and_fifos_of_the_source_are_left_out(spaces: Workspaces, live: Path) -> None:
    write_tree(live, SMALL)
    os.mkfifo(live / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(live / "d" / "s"))
    workspace = spaces.create(DirectorySource(live))
    assert workspace.entries == len(SMALL)
    assert read_tree(spaces._layout.base(workspace.id)) == SMALL
    fork = spaces.fork(workspace.id)
    assert fork.drift is None


def test_progress_is_told(spaces: Workspaces, live: Path) -> None:
    for index in range(2500):
        (live / f"{index}").touch()
    told: list[Progress] = []
    spaces.create(DirectorySource(live), progress=told.append)
    assert [step.entries for step in told if step.phase == "scan"][-1] == 2500
    assert [step.entries for step in told if step.phase == "checkout"] == [1000, 2000, 2500]


def git(*argv: str, cwd: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *argv], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def repository(room: Path) -> Path:
    path = room / "repository"
    path.mkdir()
    write_tree(path, SMALL)
    git("init", "-q", cwd=path)
    git("add", "-A", cwd=path)
    git("commit", "-qm", "one", cwd=path)
    git("tag", "v1", cwd=path)
    (path / "a").write_text("two\n")
    git("commit", "-qam", "two", cwd=path)
    return path


def test_cloning_a_repository(spaces: Workspaces, repository: Path, room: Path) -> None:
    planted = room / "planted"
    for name in ("post-checkout", "post-merge", "reference-transaction"):
        hook = repository / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {planted}\n")
        hook.chmod(0o755)
    plain = spaces.create(GitSource(str(repository)))
    assert plain.managed
    assert (plain.live / "a").read_text() == "two\n"
    assert (plain.live / ".git" / "HEAD").exists(), "the clone's own .git is content like any other"
    assert "a" in [item.path for item in spaces.list_files(plain.id).paths]
    tagged = spaces.create(
        GitSource(f"file://{repository}", ref="v1", destination=room / "checkout"), labels={"x": "y"}
    )
    assert tagged.live == room / "checkout"
    assert (tagged.live / "a").read_text() == "a\n"
    assert not planted.exists()
    spaces.remove(plain.id, delete=True)
    spaces.remove(tagged.id)
    assert not plain.live.exists(), "the executor's own copy goes with the workspace"
    assert tagged.live.exists(), "a directory the user named is theirs"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ext::sh -c 'touch /tmp/x'",
        "--upload-pack=touch /tmp/x",
        "relative/path",
        "ftp://host/x",
        "https://x\n--",
        "fd::17",
        "a\0b",
    ],
)
def test_urls_that_are_not_repositories(spaces: Workspaces, url: str) -> None:
    refused(Reason.WORKSPACE_SOURCE_INVALID, lambda: spaces.create(GitSource(url)), spaces)


def test_a_clone_that_fails_says_why_and_leaves_nothing(
    spaces: Workspaces, room: Path, repository: Path
) -> None:
    error = refused(
        Reason.WORKSPACE_SOURCE_INVALID, lambda: spaces.create(GitSource(str(room / "none"))), spaces
    )
    assert "does not exist" in str(error) or "not appear" in str(error)
    for ref in ("absent", "--orphan", "a..b"):
        refused(
            Reason.WORKSPACE_SOURCE_INVALID,
            lambda ref=ref: spaces.create(GitSource(str(repository), ref=ref)),
            spaces,
        )
    taken = room / "taken"
    taken.mkdir()
    (taken / "precious").write_text("x")
    refused(
        Reason.WORKSPACE_SOURCE_INVALID,
        lambda: spaces.create(GitSource(str(repository), destination=taken)),
        spaces,
    )
    assert (taken / "precious").exists()


def test_credentials_in_a_url_are_not_kept(spaces: Workspaces) -> None:
    from interlock.executor.workspaces.imports import describe

    assert describe(GitSource("https://user:secret@host/x.git")) == "git https://host/x.git"
    assert describe(GitSource("git@host:x.git")) == "git git@host:x.git"


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """A repository behind a user name and a password."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        self.seen.append(given)
        if given != "Basic " + base64.b64encode(b"user:hunter@2").decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_credentials_do_not_reach_the_workspace(spaces: Workspaces, repository: Path, room: Path) -> None:
    git("clone", "-q", "--bare", str(repository), str(room / "bare.git"), cwd=room)
    git("update-server-info", cwd=room / "bare.git")
    handler = functools.partial(_Guarded, directory=str(room))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        try:
            error = refused(
                Reason.WORKSPACE_SOURCE_INVALID,
                lambda: spaces.create(GitSource(f"http://user:hunter@2@{host}/none.git")),
                spaces,
            )
            made = spaces.create(GitSource(f"http://user:hunter%402@{host}/bare.git"))
        finally:
            server.shutdown()
    assert "Basic" in "".join(_Guarded.seen)
    assert "hunter" not in str(error)
    assert f"url = http://{host}/bare.git" in (made.live / ".git/config").read_text()
    kept = b"".join(path.read_bytes() for path in (made.live / ".git").rglob("*") if path.is_file())
    assert b"hunter" not in kept


def tar_of(path: Path, add: Callable[[tarfile.TarFile], None], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        add(tar)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: Any) -> Callable[..., None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mtime = kind, len(data), 1_000_000_000
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(data))

    return add


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_unpacking_a_tar(spaces: Workspaces, room: Path, mode: str) -> None:
    source = room / "pkg-1.0"
    source.mkdir()
    write_tree(source, SMALL)
    os.utime(source / "a", (1_500_000_000, 1_500_000_000))
    archive = tar_of(room / "x.tar", lambda tar: tar.add(source, "pkg-1.0"), mode)
    workspace = spaces.create(ArchiveSource(archive, strip=1))
    assert read_tree(workspace.live) == SMALL
    assert os.stat(workspace.live / "a").st_mtime == 1_500_000_000
    assert spaces.create(ArchiveSource(archive)).entries == len(SMALL) + 1


def test_unpacking_a_zip(spaces: Workspaces, room: Path) -> None:
    with zipfile.ZipFile(room / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/plain", b"x" * 1000)
        tool = zipfile.ZipInfo("d/tool", (2020, 1, 2, 3, 4, 6))
        tool.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(tool, b"#!")
        link = zipfile.ZipInfo("l", (2020, 1, 2, 3, 4, 6))
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"d/tool")
    workspace = spaces.create(ArchiveSource(room / "x.zip"))
    found = read_tree(workspace.live)
    assert found[b"d/tool"] == ("f", 0o755, b"#!")
    assert found[b"l"] == ("l", b"d/tool")
    assert found[b"d/plain"][2] == b"x" * 1000


@pytest.mark.parametrize(
    "add",
    [
        member("../out", data=b"x"),
        member("/abs", data=b"x"),
        member("a/../../out", data=b"x"),
        member("l", tarfile.SYMTYPE, linkname="../out"),
        member("l", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("d/l", tarfile.SYMTYPE, linkname="../../out"),
        member("h", tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("dev", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("n" * 300, data=b"x"),
        lambda tar: (member("d", tarfile.SYMTYPE, linkname=".")(tar), member("d/x", data=b"x")(tar)),
        lambda tar: (member("x", data=b"")(tar), member("x/y", data=b"")(tar)),
        lambda tar: (member("x/y", data=b"")(tar), member("x", data=b"")(tar)),
    ],
    ids=[
        "parent",
        "absolute",
        "climbing",
        "link-out",
        "link-absolute",
        "link-climbing",
        "hard-link",
        "device",
        "fifo",
        "long-name",
        "through-a-link",
        "file-as-directory",
        "directory-as-file",
    ],
)
def test_members_that_are_refused(spaces: Workspaces, room: Path, add: Any) -> None:
    archive = tar_of(room / "bad.tar.gz", add)
    refused(Reason.WORKSPACE_SOURCE_INVALID, lambda: spaces.create(ArchiveSource(archive)), spaces)
    assert sorted(os.listdir(room)) == ["bad.tar.gz", "executor"]


def test_bombs_stop_at_the_limit(open_spaces: Callable[..., Workspaces], room: Path) -> None:
    spaces = open_spaces("small", limits=Limits(content_bytes=1 << 20, entries=50))
    bomb = tar_of(room / "bomb.tgz", member("zeros", data=bytes(50 << 20)))
    refused(Reason.WORKSPACE_LIMIT_EXCEEDED, lambda: spaces.create(ArchiveSource(bomb)), spaces)
    many = tar_of(room / "many.tgz", lambda tar: [member(f"f{i}")(tar) for i in range(60)])  # type: ignore[func-returns-value]
    refused(Reason.WORKSPACE_LIMIT_EXCEEDED, lambda: spaces.create(ArchiveSource(many)), spaces)


def test_what_is_no_archive(spaces: Workspaces, room: Path) -> None:
    good = tar_of(room / "good.tar.gz", member("a", data=os.urandom(5000)))
    for name, data in (
        ("text", b"hello"),
        ("empty", b""),
        ("cut", good.read_bytes()[:2000]),
        ("zip", b"PK\5\6" + bytes(18) + b"junk"),
    ):
        (room / name).write_bytes(data)
        if name == "zip":
            continue  # an empty zip with a tail is a valid, empty archive
        refused(
            Reason.WORKSPACE_SOURCE_INVALID,
            lambda name=name: spaces.create(ArchiveSource(room / name)),
            spaces,
        )
    refused(Reason.WORKSPACE_SOURCE_INVALID, lambda: spaces.create(ArchiveSource(room / "absent")), spaces)
    refused(Reason.WORKSPACE_SOURCE_INVALID, lambda: spaces.create(ArchiveSource(room)), spaces)


def test_directories_of_interlock_itself_are_no_workspaces(
    open_spaces: Callable[..., Workspaces], room: Path
) -> None:
    """A step that could read the token, or write the database, would be its own approver."""
    data = room / "home/data"
    data.mkdir(parents=True)
    (data / "token").write_text("secret")
    (room / "alias").symlink_to(data)
    (room / "home/project").mkdir()
    spaces = open_spaces(closed=(room / "alias", room / "none"))
    for path in (data, room / "home"):
        error = refused(
            Reason.WORKSPACE_SOURCE_INVALID, lambda path=path: spaces.create(DirectorySource(path)), spaces
        )
        assert "where Interlock keeps its own files" in str(error)
    spaces.create(DirectorySource(room / "home/project"))
