"""Limits on commands as people write and read them: `wall=10m memory=512MiB processes=64`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from interlock.cli.text import seconds_text, size_text
from interlock.cli.values import bad_value, parse_duration
from interlock.v1.step_pb2 import Limits

_SIZE: Final = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB|TiB)?")
_UNITS: Final = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}

_DURATIONS: Final = ("wall", "cpu")
_SIZES: Final = {
    "memory": "memory_bytes",
    "file": "file_bytes",
    "written": "written_bytes",
    "output": "output_bytes",
    "kept": "kept_bytes",
}
_COUNTS: Final = {"processes": "processes", "open-files": "open_files", "files": "written_files"}
NAMES: Final = (*_DURATIONS, *_SIZES, *_COUNTS)


def parse_limits(values: list[str] | None) -> Limits | None:
    """`NAME=VALUE`, each name once; None without any. Raises INVALID_ARGUMENT."""
    limits = Limits()
    seen: set[str] = set()
    for value in values or ():
        name, equals, text = value.partition("=")
        if not equals or name not in NAMES or name in seen:
            raise bad_value(
                "limit",
                f"{value[:80]!r} is given twice." if name in seen else f"{value[:80]!r} is not a limit.",
                f"Write NAME=VALUE; names are {', '.join(NAMES)}.",
            )
        seen.add(name)
        _set(limits, name, text)
    return limits if seen else None


def limits_text(limits: Limits) -> str:
    """`wall 10m 00s, memory 512.0 MiB, processes 64`, in a fixed order; empty without any."""
    return ", ".join(f"{name} {shown}" for name, shown in _shown(limits))


def _set(limits: Limits, name: str, text: str) -> None:
    if name in _DURATIONS:
        seconds = parse_duration(text, "limit")
        if not seconds:
            raise bad_value("limit", f"{name} needs a duration.", "Write seconds, or 500ms, 90s, 5m, 2h.")
        getattr(limits, name).FromMicroseconds(round(seconds * 1_000_000))
        return
    match = (_SIZE if name in _SIZES else re.compile(r"(\d{1,9})()")).fullmatch(text.strip())
    number = int(match[1]) << _UNITS[match[2] or "B"] if match else 0
    if not 0 < number < (1 << 63 if name in _SIZES or name == "files" else 1 << 31):
        how = "Write a number with B, KiB, MiB or GiB." if name in _SIZES else "Write a positive number."
        raise bad_value("limit", f"{text[:40]!r} is no {name}.", how)
    setattr(limits, {**_SIZES, **_COUNTS}[name], number)


def _shown(limits: Limits) -> list[tuple[str, str]]:
    found = [
        (name, seconds_text(getattr(limits, name).ToMicroseconds() / 1e6))
        for name in _DURATIONS
        if limits.HasField(name)
    ]
    ways: tuple[tuple[dict[str, str], Callable[[int], str]], ...] = ((_SIZES, size_text), (_COUNTS, str))
    for names, text in ways:
        found += [
            (name, text(getattr(limits, field))) for name, field in names.items() if getattr(limits, field)
        ]
    return found
