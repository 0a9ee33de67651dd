"""Workspace-relative paths: validation, and bytes inside against text outside.

A name is bytes to the kernel. Outside this service it is text: UTF-8, with bytes that are not UTF-8 as lone
surrogates U+DC80..U+DCFF (PEP 383 `surrogateescape`), so that every name makes the round trip.
"""

from __future__ import annotations

from typing import Final

from interlock.common.errors import InterlockError, Reason

MAX_PATH_BYTES: Final = 4000
"""Longest workspace-relative path, in bytes; a little below Linux's PATH_MAX of 4096."""

MAX_NAME_BYTES: Final = 255
"""Longest single name (NAME_MAX)."""


def to_bytes(text: str | bytes) -> bytes:
    """The bytes of a path given as text. Raises INVALID_ARGUMENT for surrogates that stand for no byte."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "The path holds a character that no file name can have.",
            field="path",
            fix="Write the path as UTF-8.",
        ) from None


def to_text(name: bytes) -> str:
    """The text of a name: UTF-8, other bytes as surrogate escapes. The inverse of `to_bytes`."""
    return name.decode("utf-8", "surrogateescape")


def shown(name: bytes | str) -> str:
    """A name for messages: one line, printable, at most 300 characters."""
    text = name if isinstance(name, str) else to_text(name)
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return safe if len(safe) <= 300 else safe[:297] + "..."


def split_path(path: str | bytes, *, field: str = "path", allow_root: bool = False) -> tuple[bytes, ...]:
    """The components of a workspace-relative path.

    `.` components and repeated slashes are dropped. With `allow_root`, the empty path and `.` mean the
    workspace itself and give `()`.

    Raises:
        PATH_OUTSIDE_WORKSPACE: an absolute path, or any `..` component.
        INVALID_ARGUMENT: an empty path, a NUL byte, a path over 4000 bytes or a name over 255 bytes.
    """
    raw = to_bytes(path)
    if b"\0" in raw:
        raise _invalid("The path holds a NUL byte.", field)
    if len(raw) > MAX_PATH_BYTES:
        raise _invalid(f"The path is {len(raw)} bytes long; at most {MAX_PATH_BYTES} are possible.", field)
    if raw.startswith(b"/"):
        raise _outside(f"{shown(raw)} is an absolute path.", field)
    parts = tuple(part for part in raw.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise _outside(f"{shown(raw)} has a component '..'.", field)
    if not parts and not allow_root:
        raise _invalid("The path is empty.", field)
    for part in parts:
        if len(part) > MAX_NAME_BYTES:
            raise _invalid(f"A name in the path is {len(part)} bytes long; at most {MAX_NAME_BYTES}.", field)
    return parts


def clean_path(path: str | bytes, *, field: str = "path", allow_root: bool = False) -> bytes:
    """`split_path`, joined again by single slashes; `b""` is the workspace itself."""
    return b"/".join(split_path(path, field=field, allow_root=allow_root))


def join(parent: bytes, name: bytes) -> bytes:
    """A path one level deeper; the parent `b""` is the workspace itself."""
    return parent + b"/" + name if parent else name


def parent_and_name(path: bytes) -> tuple[bytes, bytes]:
    """Split off the last component: `a/b/c` gives (`a/b`, `c`), `c` gives (``, `c`)."""
    head, _, tail = path.rpartition(b"/")
    return head, tail


def _invalid(message: str, field: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT, message, field=field, fix="Give a path relative to the workspace."
    )


def _outside(message: str, field: str) -> InterlockError:
    return InterlockError(
        Reason.PATH_OUTSIDE_WORKSPACE, message, field=field, fix="Give a path relative to the workspace."
    )
