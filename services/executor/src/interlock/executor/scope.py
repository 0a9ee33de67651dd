"""What callers whose token is limited to labels may touch here: workspaces that have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from interlock.common.access.scope import covers, outside, require
from interlock.common.config import env_list
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.interceptors.base import Rpc
from interlock.executor.engine import Engine
from interlock.executor.files.names import shown

_ABOUT_NONE: Final = frozenset({"ListWorkspaces", "GetExecutorInfo"})
"""A list that leaves out what is not within the caller's scope, and what is known of the machine."""

_DIRECTORIES: Final = "INTERLOCK_SCOPE_DIRECTORIES"

Places = Mapping[tuple[str, str], tuple[Path, ...]]
"""Label and value → the directories below which callers limited to it may have workspaces."""


def places_from_env(env: Mapping[str, str] | None = None) -> Places:
    """INTERLOCK_SCOPE_DIRECTORIES: `label=value:/directory`, by commas. Raises INVALID_ARGUMENT."""
    found: dict[tuple[str, str], tuple[Path, ...]] = {}
    for entry in env_list(_DIRECTORIES, env=env):
        left, _, directory = entry.partition(":")
        label, equals, value = left.partition("=")
        if not (equals and label and value) or not directory.startswith("/") or ".." in directory.split("/"):
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{_DIRECTORIES}: {entry!r} is not label=value:/directory.",
                field=_DIRECTORIES,
                fix=f"Set it like {_DIRECTORIES}=team=web:/srv/web,team=core:/srv/core.",
            )
        found[label, value] = (*found.get((label, value), ()), Path(directory))
    return found


class WorkspaceScope:
    """Looks at the labels of the workspaces that a request names, and at where new ones come from.

    What is on the executor's machine has no labels, and the executor reads it with its own rights. So callers with a
    scope make workspaces from their own trees, from repositories elsewhere, and in the directories of their `places`.
    """

    def __init__(self, engine: Engine, places: Places | None = None) -> None:
        self._engine = engine
        self._places = places or {}

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Raises PERMISSION_DENIED, WORKSPACE_NOT_FOUND."""
        if rpc.method in _ABOUT_NONE:
            return
        if rpc.method == "CreateWorkspace":
            self._check_new(identity, dict(request.labels))
            self._check_source(identity, request.source)
        named = list(_named(rpc, request))
        if not named and rpc.method != "CreateWorkspace":
            raise outside(identity, f"{rpc.method} is about all of them, and it")
        for workspace_id in named:
            found = await self._engine.call(self._engine.workspaces.get, workspace_id)
            require(identity, found.labels, workspace_id)

    @staticmethod
    def _check_new(identity: Identity, labels: dict[str, str]) -> None:
        if not covers(identity.scope, labels):
            error = outside(identity, "the new one")
            error.fix = "Give the new workspace these labels: `interlock workspace create --label KEY=VALUE`."
            raise error

    def _check_source(self, identity: Identity, source: Any) -> None:
        kind = source.WhichOneof("source")
        if kind == "archive" or (kind == "git" and _is_local(source.git.url)):
            raise _elsewhere(identity, f"what a local {kind} has in it")
        path = source.directory.path if kind == "directory" else source.tree.path if kind == "tree" else ""
        if path and not self._is_own(identity, Path(path)):
            raise _elsewhere(identity, shown(path))

    def _is_own(self, identity: Identity, path: Path) -> bool:
        try:
            real = path.resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        own = (place for label in identity.scope.items() for place in self._places.get(label, ()))
        return any(real.is_relative_to(place.resolve()) for place in own)


def _is_local(url: str) -> bool:
    return url.startswith("/") or url.lower().startswith("file:")


def _elsewhere(identity: Identity, what: str) -> InterlockError:
    error = outside(identity, what)
    error.fix = f"Clone a repository by its URL, or have {_DIRECTORIES} of the executor name a directory for the label."
    return error


def _named(rpc: Rpc, request: Any) -> Iterator[str]:
    for name in ("workspace_id", "to_workspace_id"):
        if name in request.DESCRIPTOR.fields_by_name and getattr(request, name):
            yield getattr(request, name)
    if rpc.method == "CreateWorkspace" and request.source.tree.workspace_id:
        yield request.source.tree.workspace_id
