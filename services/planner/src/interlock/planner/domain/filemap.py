"""Which files of a workspace the model is told of, and which it sees."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interlock.common import relevance
from interlock.planner.domain.context import cut, fenced
from interlock.planner.domain.model import ContextFile

_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"(^|/)(test_[^/]*|[^/]*_test)\.py$", "python3 -m pytest -q"),
    (r"^Makefile$", "make test"),
    (r"^package\.json$", "npm test"),
    (r"^Cargo\.toml$", "cargo test"),
    (r"^go\.mod$", "go test ./..."),
)


def ranked(files: Sequence[ContextFile], goal: str) -> list[ContextFile]:
    """Files, the likeliest to matter for the goal first."""
    by_path = {file.path: file for file in files}
    return [by_path[path] for path in relevance.ranked(by_path, goal)]


def related(files: Sequence[ContextFile], goal: str, most: int) -> list[ContextFile]:
    """The files that the goal names or shares words with; when there are none, the first of ``ranked``."""
    known = relevance.words(goal)
    order = ranked(files, goal)
    kin = [
        file
        for file in order
        if relevance.kinship(file.path, goal, known) and not relevance.is_noise(file.path)
    ]
    return (kin or order)[:most]


def listing(files: Sequence[ContextFile], goal: str, budget: int) -> str:
    """Paths with sizes, most relevant first, within ``budget`` characters; says how many are not listed."""
    if not files:
        return "(the files are not known)"
    lines: list[str] = []
    used = 0
    for file in ranked(files, goal):
        line = f"{file.path} ({file.size:,} bytes)"
        if used + len(line) > budget:
            lines.append(f"[… {len(files) - len(lines):,} more files are not listed …]")
            break
        lines.append(line)
        used += len(line) + 1
    return fenced("files of the workspace", "\n".join(lines))


def contents(files: Sequence[ContextFile], goal: str, budget: int) -> str:
    """Contents of the most relevant files that come with text, within ``budget`` characters, cut visibly."""
    blocks: list[str] = []
    left = budget
    for file in ranked([file for file in files if file.content], goal):
        if left < 200:
            break
        text = cut(file.content, min(left, max(2_000, budget // 3)))
        blocks.append(fenced(f"content of {file.path}", text))
        left -= len(text)
    return "\n".join(blocks)


def likely_commands(files: Sequence[ContextFile]) -> tuple[str, ...]:
    """Commands that suit the kind of project, for a model too small to write its own; never empty."""
    found = [
        command for pattern, command in _COMMANDS if any(re.search(pattern, file.path) for file in files)
    ]
    return (*found, "ls -la")
