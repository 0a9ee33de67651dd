"""Data on standard output: aligned columns for people, protobuf's JSON mapping for programs.

JSON is written in ASCII: every character that could act on a terminal is escaped by `\\uXXXX`, and nothing is lost.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings

if TYPE_CHECKING:
    from google.protobuf.message import Message

_GAP = "  "
_COLOURS = {
    "COMPLETED": "32", "SUCCEEDED": "32", "APPROVED": "32", "ok": "32", "serving": "32",
    "FAILED": "31", "REJECTED": "31", "OUTCOME_UNKNOWN": "31", "EXPIRED": "31", "missing": "31",
    "AWAITING_APPROVAL": "33", "PENDING": "33", "PAUSED": "33", "warning": "33",
    "RUNNING": "36", "PREPARING": "36", "APPLYING": "36", "PLANNING": "36",
}  # fmt: skip


def message_dict(message: Message) -> dict[str, Any]:
    """The message in protobuf's standard JSON mapping: lowerCamelCase names, unset fields left out."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message)


def write_json(value: object, output: Output) -> None:
    """One JSON document: indented, or on one line for jsonl."""
    indent = 2 if output is Output.JSON else None
    separators = None if output is Output.JSON else (",", ":")
    sys.stdout.write(json.dumps(value, indent=indent, separators=separators) + "\n")
    sys.stdout.flush()


def show_one(settings: Settings, message: Message, people: Callable[[], None]) -> None:
    """One message: as JSON, or by what `people` prints."""
    if settings.output is Output.TABLE:
        people()
    else:
        write_json(message_dict(message), settings.output)


def show_list(
    settings: Settings,
    name: str,
    messages: Iterable[Message],
    headers: Sequence[str],
    row: Callable[[Any], Sequence[str]],
    empty: str = "",
) -> None:
    """A list: a table, `{"<name>": […]}`, or one message a line."""
    if settings.output is Output.TABLE:
        rows = [row(message) for message in messages]
        if not rows and empty:
            print(empty, file=sys.stderr)
        elif rows:
            write_table(headers, rows)
    elif settings.output is Output.JSON:
        write_json({name: [message_dict(message) for message in messages]}, settings.output)
    else:
        for message in messages:
            write_json(message_dict(message), settings.output)


def use_colour(stream: Any = None) -> bool:
    """Whether to colour: a terminal, and no NO_COLOR (https://no-color.org)."""
    target = sys.stdout if stream is None else stream
    return target.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns. On a terminal the last column is cut to its width; in a pipe nothing is."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in table_lines(headers, rows, width=width, colour=use_colour()):
        print(line)


def table_lines(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 0, colour: bool = False
) -> list[str]:
    """The lines of a table; cells are escaped. `width` 0 = do not cut."""
    cells = [[escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    return [
        _line(headers, widths, width, colour=False),
        *(_line(row, widths, width, colour=colour) for row in cells),
    ]


def _line(row: Sequence[str], widths: Sequence[int], width: int, *, colour: bool) -> str:
    room = width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1) if width else 0
    *first, last = row
    if 0 < room < len(last):
        last = last[: room - 1] + "…"
    parts = [
        _paint(cell, colour) + " " * (size - len(cell)) for cell, size in zip(first, widths, strict=False)
    ]
    return _GAP.join([*parts, _paint(last, colour)]).rstrip()


def _paint(cell: str, colour: bool) -> str:
    code = _COLOURS.get(cell) if colour else None
    return f"\x1b[{code}m{cell}\x1b[0m" if code else cell


def write_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """`name: value` lines, aligned; empty values are left out."""
    shown = [(name, escape(value)) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0) + 1
    colour = use_colour()
    for name, value in shown:
        print(f"{name + ':':<{width}} {_paint(value, colour)}")


def progress(text: str) -> None:
    """A line about what is going on, on standard error."""
    print(escape(text), file=sys.stderr, flush=True)
