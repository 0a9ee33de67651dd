"""Values given on the command line, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli.text import enum_choices, enum_number
from interlock.common.errors import InterlockError, Reason

if TYPE_CHECKING:
    from interlock.client import Client
    from interlock.v1.approval_pb2 import ApprovalFilter
    from interlock.v1.workspace_pb2 import Workspace, WorkspaceSource

_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")


def bad_value(field: str, message: str, fix: str) -> InterlockError:
    """The error for an option or argument that cannot be read."""
    return InterlockError(Reason.INVALID_ARGUMENT, message, field=field, fix=fix)


def parse_labels(values: list[str] | None) -> dict[str, str]:
    """`KEY=VALUE`, any number of them."""
    labels = {}
    for value in values or ():
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise bad_value("label", f"{value[:80]!r} is not a label.", "Write KEY=VALUE.")
        labels[key] = text
    return labels


def parse_duration(text: str, field: str) -> float | None:
    """Seconds of `90`, `90s`, `1.5m`, `2h`, `500ms`; None when empty."""
    if not text:
        return None
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise bad_value(
            field, f"{text[:80]!r} is not a duration.", "Write seconds, or 500ms, 90s, 5m, 2h, 30d."
        )
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_enum(wrapper: object, text: str, field: str, *, never: tuple[str, ...] = ()) -> int:
    """The number of an enum value by its short name, in any case; `never` are those that cannot be given here."""
    number = enum_number(wrapper, text) if text.lower() not in never else None
    if number is None:
        known = (choice.lower() for choice in enum_choices(wrapper))
        choices = ", ".join(choice for choice in known if choice not in never)
        raise bad_value(field, f"{text[:80]!r} is not known.", f"Use one of {choices}.")
    return number


def parse_step(text: str) -> int:
    """A step's number, given as `3` or `step-3`."""
    digits = text.removeprefix("step-")
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 2**31):
        raise bad_value("step", f"{text[:80]!r} is not a step.", "Give its number, as in 3 or step-3.")
    return int(digits)


def parse_source(text: str, *, git: bool, ref: str, strip: int) -> WorkspaceSource:
    """What a workspace is made of: a URL is cloned, a file unpacked, a directory used in place.

    The executor may see what this machine does not: a path that is not here counts as an archive by its name.
    """
    from interlock.v1.workspace_pb2 import ArchiveSource, DirectorySource, GitSource, WorkspaceSource

    if git or ref or _URL.match(text):
        url = text if _URL.match(text) else str(Path(text).expanduser().absolute())
        return WorkspaceSource(git=GitSource(url=url, ref=ref))
    path = Path(text).expanduser().absolute()
    if path.is_file() or (path.name.lower().endswith(_ARCHIVES) and not path.exists()):
        return WorkspaceSource(archive=ArchiveSource(path=str(path), strip_components=strip))
    return WorkspaceSource(directory=DirectorySource(path=str(path)))


def absolute(text: str) -> str:
    """A path as a service on this machine understands it; empty stays empty."""
    return str(Path(text).expanduser().absolute()) if text else ""


async def find_workspace(client: Client, text: str) -> Workspace:
    """A workspace by its id, or by the directory it is."""
    if text.startswith("ws-") and "/" not in text:
        from interlock.cli.beginnings import whole_workspace_id

        return await client.get_workspace(await whole_workspace_id(client, text))
    wanted = {str(path) for path in _spellings(text)}
    async for workspace in client.list_workspaces():
        if workspace.path in wanted:
            return workspace
    raise InterlockError(
        Reason.WORKSPACE_NOT_FOUND,
        f"{text[:500]} is not a workspace.",
        field="workspace",
        fix="`interlock workspace list` shows all; `interlock workspace create DIR` makes one.",
    )


async def workspace_id(client: Client, text: str) -> str:
    """The id of a workspace given as `find_workspace` reads it; empty when nothing was given."""
    return (await find_workspace(client, text)).workspace_id if text else ""


async def approval_filter(
    client: Client,
    run: str,
    workspace: str,
    label: list[str] | None,
    workspace_label: list[str] | None,
    *,
    mine: bool,
) -> ApprovalFilter:
    """Which approvals the options of a list choose."""
    from interlock.cli.beginnings import find_run
    from interlock.v1.approval_pb2 import ApprovalFilter

    return ApprovalFilter(
        run_id=await find_run(client, run),
        workspace_id=await workspace_id(client, workspace),
        labels=parse_labels(label),
        workspace_labels=parse_labels(workspace_label),
        for_me=mine,
    )


def _spellings(text: str) -> list[Path]:
    path = Path(text).expanduser().absolute()
    return [path, path.resolve()]


def read_document(path: str, field: str) -> bytes:
    """A file named on the command line; `-` is standard input. At most 16 MiB."""
    import sys

    limit = 16 * 1024 * 1024
    try:
        if path == "-":
            return sys.stdin.buffer.read(limit)
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"Cannot read {path}: {error.strerror}.",
            field=field,
            fix="Check the path.",
        ) from None
