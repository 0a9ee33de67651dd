"""Recorded replies: which request a reply belongs to, and what differs where there is none.

A request is the canonical JSON (RFC 8785) of ``purpose``, ``prompt_version``, ``model``, ``messages`` and
``parameters``; its SHA-256 is its address. It says what was asked, not how one server had to be asked: a
``response_format`` that a server refused, or a field that it names differently, makes no other request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_AROUND = 30
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place at which two requests differ: its path, and what stands there in either."""

    path: str
    recorded: str
    asked: str


def first_difference(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Difference | None:
    """Where two requests differ first, field by field in order of their names; None when they are equal."""
    return next(_differences(recorded, asked, ""), None)


def nearest(records: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> int | None:
    """The index of the recorded request that is most like the one asked; None when there is none.

    First the same purpose, prompt version and model, then the longest common beginning of the messages.
    """
    if not records:
        return None
    return max(range(len(records)), key=lambda index: (_likeness(records[index], asked), -index))


def _likeness(record: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[int, int]:
    same = sum(record.get(name) == asked.get(name) for name in ("purpose", "prompt_version", "model"))
    return same, _common(_messages(record), _messages(asked))


def _messages(request: Mapping[str, Any]) -> str:
    found = request.get("messages")
    items = found if isinstance(found, list) else []
    return "\n".join(str(item.get("content", "")) for item in items if isinstance(item, Mapping))


def _common(a: str, b: str) -> int:
    """Length of the common beginning."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _differences(a: Any, b: Any, path: str) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in sorted({*a, *b}):
            yield from _differences(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            yield from _differences(_at(a, index), _at(b, index), f"{path}[{index}]")
    elif a != b or type(a) is not type(b):
        yield _scalar(a, b, path)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _scalar(a: Any, b: Any, path: str) -> Difference:
    if isinstance(a, str) and isinstance(b, str):
        at = _common(a, b)
        start = max(0, at - _AROUND)
        return Difference(f"{path} (character {at + 1})", _cut(a[start:]), _cut(b[start:]))
    return Difference(path, _cut(repr(a)), _cut(repr(b)))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
