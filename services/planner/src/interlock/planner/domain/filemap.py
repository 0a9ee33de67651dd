"""Which files of a workspace the model is told of, and which it sees."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interlock.planner.domain.context import cut, fenced
from interlock.planner.domain.model import ContextFile

_WORD = re.compile(r"[A-Za-z0-9]{3,}")
_NOISE = re.compile(
    r"(^|/)(\.git|node_modules|\.venv|__pycache__|dist|build)/"
    r"|\.(lock|min\.js|pyc|png|jpe?g|gif|gz|zip|whl)$"
)
_COMMANDS: tuple[tuple[str, str], ...] = (
    (r"(^|/)(test_[^/]*|[^/]*_test)\.py$", "python3 -m pytest -q"),
    (r"^Makefile$", "make test"),
    (r"^package\.json$", "npm test"),
    (r"^Cargo\.toml$", "cargo test"),
    (r"^go\.mod$", "go test ./..."),
)


def ranked(files: Sequence[ContextFile], goal: str) -> list[ContextFile]:
    """Files, the likeliest to matter for the goal first: named in it, sharing words with it, near the root."""
    words = _words(goal)

    def rank(file: ContextFile) -> tuple[bool, int, int, str]:
        return bool(_NOISE.search(file.path)), -_kinship(file, goal, words), file.path.count("/"), file.path

    return sorted(files, key=rank)


def related(files: Sequence[ContextFile], goal: str, most: int) -> list[ContextFile]:
    """The files that the goal names or shares words with; when there are none, the first of ``ranked``."""
    words = _words(goal)
    order = ranked(files, goal)
    kin = [file for file in order if _kinship(file, goal, words) and not _NOISE.search(file.path)]
    return (kin or order)[:most]


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _kinship(file: ContextFile, goal: str, words: set[str]) -> int:
    named = file.path in goal or file.path.rsplit("/", 1)[-1] in goal
    return 10 * named + len(words & _words(file.path))


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
