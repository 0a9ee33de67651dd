"""Which files of a directory a model is likely to need for a goal, by their paths alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Za-z0-9]{3,}")
_NOISE = re.compile(
    r"(^|/)(\.git|node_modules|\.venv|__pycache__|dist|build)/"
    r"|\.(lock|min\.js|pyc|png|jpe?g|gif|gz|zip|whl)$"
)
_PRIVATE = re.compile(
    r"(^|/)(\.env[^/]*|\.netrc|\.npmrc|\.pypirc|\.pgpass|id_(rsa|dsa|ecdsa|ed25519)|credentials[^/]*|secrets?\.[^/]*)$"
    r"|\.(pem|key|p12|pfx|kdbx|jks)$"
    r"|(^|/)\.(ssh|aws|gnupg)/",
    re.IGNORECASE,
)


def words(text: str) -> frozenset[str]:
    """Words of three and more letters and digits, in lower case."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def is_noise(path: str) -> bool:
    """Whether it is made by programs, or is no text: a lock file, a build's output, a picture."""
    return bool(_NOISE.search(path))


def is_private(path: str) -> bool:
    """Whether its name says that it holds credentials, so that no model is shown what is in it unasked."""
    return bool(_PRIVATE.search(path))


def kinship(path: str, goal: str, known: frozenset[str]) -> int:
    """How much a path has to do with a goal: named in it, or sharing words with it (`known`: the goal's words)."""
    named = path in goal or path.rsplit("/", 1)[-1] in goal
    return 10 * named + len(known & words(path))


def ranked(paths: Iterable[str], goal: str) -> list[str]:
    """The likeliest to matter first: named in the goal, sharing words with it, near the root; noise last."""
    known = words(goal)

    def rank(path: str) -> tuple[bool, int, int, str]:
        return is_noise(path), -kinship(path, goal, known), path.count("/"), path

    return sorted(paths, key=rank)


def worth_reading(
    sizes: dict[str, int], goal: str, *, most: int, file_bytes: int, total_bytes: int
) -> list[str]:
    """Paths whose content a planner should see, the likeliest first, within these bounds.

    Args:
        sizes: bytes by path.
        most: how many files.
        file_bytes: what is larger is left out.
        total_bytes: of all together.
    """
    chosen: list[str] = []
    left = total_bytes
    for path in ranked(sizes, goal):
        if len(chosen) == most or is_noise(path):
            break
        if 0 < sizes[path] <= min(file_bytes, left) and not is_private(path):
            chosen.append(path)
            left -= sizes[path]
    return chosen
