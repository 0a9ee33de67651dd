"""The tree as a plan's steps will find it, as far as that can be known before anything runs. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from interlock.common.errors import InterlockError, Reason
from interlock.common.patch import apply_patch, parse_patch
from interlock.common.plan import EditFileInput, PlanStep, Problem, ReadFileInput, RunCommandInput
from interlock.planner.domain.model import ContextFile


class Sketch:
    """Which files there are, and what is in those whose whole content is known.

    A command may make, change and remove anything: after one, a path that is not known may be there all the same, and
    no content is known any more.
    """

    def __init__(self, files: Iterable[ContextFile]) -> None:
        self._files: dict[str, bytes | None] = {posixpath.normpath(file.path): _whole(file) for file in files}
        self._open = False

    def take(self, step: PlanStep, where: str) -> list[Problem]:
        """What is wrong with the step in the tree as it is by then; afterwards the tree is as the step leaves it."""
        chosen = step.input
        if isinstance(chosen, RunCommandInput):
            self._open = True
            self._files = dict.fromkeys(self._files)
        elif isinstance(chosen, ReadFileInput):
            return self._read(chosen, f"{where}.read_file.path")
        elif isinstance(chosen, EditFileInput):
            return self._edit(chosen, f"{where}.edit_file")
        return []

    def _read(self, chosen: ReadFileInput, where: str) -> list[Problem]:
        path = posixpath.normpath(chosen.path)
        if path in self._files or self._open:
            return []
        return [self._directory(chosen.path, where) or _missing(chosen.path, where)]

    def _edit(self, chosen: EditFileInput, where: str) -> list[Problem]:
        path = posixpath.normpath(chosen.path)
        wrong = self._unwritable(path, chosen.path, f"{where}.path")
        if wrong is not None:
            return [wrong]
        if chosen.patch is not None:
            return self._patch(path, chosen, where)
        self._files[path] = (
            None if chosen.new_content is None else chosen.new_content.encode("utf-8", "replace")
        )
        return []

    def _unwritable(self, path: str, given: str, where: str) -> Problem | None:
        if self._open:
            return None
        above = next((folder for folder in _parents(path) if folder in self._files), None)
        if above is not None:
            return Problem(Reason.PATH_NOT_REGULAR, where, f"{given!r} lies below {above!r}, which is a file")
        return None if path in self._files else self._directory(given, where)

    def _directory(self, given: str, where: str) -> Problem | None:
        path = posixpath.normpath(given)
        if path == "." or any(known.startswith(f"{path}/") for known in self._files):
            return Problem(Reason.PATH_IS_DIRECTORY, where, f"{given!r} is a directory")
        return None

    def _patch(self, path: str, chosen: EditFileInput, where: str) -> list[Problem]:
        there = path in self._files
        try:
            patch = parse_patch((chosen.patch or "").encode("utf-8", "replace"), path)
            if not there and not patch.creates and not self._open:
                return [_missing(chosen.path, f"{where}.path")]
            content = self._files.get(path)
            known = content is not None or (not there and not self._open)
            after = apply_patch(patch, content, path) if known else None
        except InterlockError as error:
            return [Problem(error.reason, f"{where}.patch", error.message.rstrip("."), error.fix)]
        if patch.deletes:
            self._files.pop(path, None)
        else:
            self._files[path] = after
        return []


def _whole(file: ContextFile) -> bytes | None:
    """The content, if all of it is there. Nothing at all is taken as not given."""
    raw = file.content.encode("utf-8", "surrogatepass")
    return raw if raw and len(raw) == file.size else None


def _missing(given: str, where: str) -> Problem:
    message = f"{given!r} is not a file of the workspace, and no earlier step makes it"
    return Problem(Reason.PATH_NOT_FOUND, where, message, "Use a path from the list.")


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
