"""Bounds of an envelope as people write them on the command line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.values import bad_value, parse_duration

if TYPE_CHECKING:
    from interlock.v1.envelope_pb2 import EnvelopeBounds

PATHS = "Later steps may change these paths without asking: a glob, src/**, *.md; repeatable."
COMMANDS = "Later steps may run commands that begin like this: make, 'git add'; repeatable. None: only edits."
STEPS = "How many steps may use it. Default: 20."
BYTES = "Most bytes the changed files may have together. Default: no limit."
COST = "Most US dollars the run may spend on models from now on. Default: no limit."
LASTS = "How long it lasts: 30m, 8h. Default: as long as the run."

EnvelopePath = Annotated[list[str] | None, typer.Option("--envelope-path", metavar="GLOB", help=PATHS)]
EnvelopeCommand = Annotated[
    list[str] | None, typer.Option("--envelope-command", metavar="WORDS", help=COMMANDS)
]
EnvelopeSteps = Annotated[int, typer.Option("--envelope-steps", metavar="N", min=0, max=1000, help=STEPS)]


def read_bounds(
    paths: list[str] | None,
    commands: list[str] | None,
    *,
    steps: int = 0,
    size: int = 0,
    dollars: float = 0.0,
    lasts: str = "",
) -> EnvelopeBounds | None:
    """The bounds; None without any path. Raises INVALID_ARGUMENT."""
    from interlock.client.envelopes import bounds

    if not paths:
        if commands:
            raise bad_value("path", "An envelope names the paths that may change.", "Add a path; ** is all.")
        return None
    return bounds(
        paths,
        [_words(each) for each in commands or ()],
        max_steps=steps,
        max_bytes=size,
        max_cost_micros=round(dollars * 1_000_000),
        lasts=parse_duration(lasts, "for"),
    )


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words:
        raise bad_value("command", f"{text[:80]!r} are no words of a command.", "Write make, or 'git add'.")
    return words
