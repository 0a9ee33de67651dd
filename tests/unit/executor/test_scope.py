"""Callers who are limited to labels make no workspace of what the executor alone may read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.executor.scope import WorkspaceScope, places_from_env
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import workspace_pb2 as w

ADA = Identity("ada", frozenset({"operator"}), {"team": "web"}, "token:tok-1")
CREATE = cast("Any", SimpleNamespace(method="CreateWorkspace"))


def directory(path: Path) -> w.WorkspaceSource:
    return w.WorkspaceSource(directory=w.DirectorySource(path=str(path)))


def git(url: str) -> w.WorkspaceSource:
    return w.WorkspaceSource(git=w.GitSource(url=url))


async def refused(scope: WorkspaceScope, source: w.WorkspaceSource) -> bool:
    request = pb.CreateWorkspaceRequest(source=source, labels={"team": "web"})
    try:
        await scope.check(ADA, CREATE, request)
    except InterlockError as error:
        return error.reason is Reason.PERMISSION_DENIED and "INTERLOCK_SCOPE_DIRECTORIES" in error.fix
    return False


@pytest.fixture
def scope(tmp_path: Path) -> WorkspaceScope:
    for name in ("web/site", "webs", "core"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "web/link").symlink_to(tmp_path / "core")
    named = f"team=web:{tmp_path}/web,team=core:{tmp_path}/core"
    return WorkspaceScope(cast("Any", None), places_from_env({"INTERLOCK_SCOPE_DIRECTORIES": named}))


async def test_directories_of_the_labels_and_no_others(scope: WorkspaceScope, tmp_path: Path) -> None:
    assert not await refused(scope, directory(tmp_path / "web/site"))
    for path in ("core", "webs", "web/../core", "web/link", "web/link/x", "."):
        assert await refused(scope, directory(tmp_path / path)), path
    assert await refused(scope, directory(Path("/etc")))


async def test_nothing_on_the_machine_without_directories_of_the_label(tmp_path: Path) -> None:
    scope = WorkspaceScope(cast("Any", None))
    assert await refused(scope, directory(tmp_path))
    assert await refused(scope, w.WorkspaceSource(archive=w.ArchiveSource(path=str(tmp_path / "a.tar"))))
    assert await refused(scope, w.WorkspaceSource(tree=w.TreeSource(path=str(tmp_path / "new"))))
    for url in (str(tmp_path), f"file://{tmp_path}", f"FILE://{tmp_path}"):
        assert await refused(scope, git(url)), url
    assert not await refused(scope, git("https://example.org/web.git"))


@pytest.mark.parametrize(
    "text", ["team:/srv", "team=web", "team=web:srv", "=web:/srv", "team=web:/srv/../etc"]
)
def test_directories_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(InterlockError, match="label=value:/directory"):
        places_from_env({"INTERLOCK_SCOPE_DIRECTORIES": text})
