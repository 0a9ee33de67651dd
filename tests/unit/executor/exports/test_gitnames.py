"""Names that git refuses: the rules agree with those of the git that is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from interlock.executor.exports.gitnames import refused

NAMES = [
    b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git ", b".git.", b".git . .", b".git::$INDEX_ALLOCATION",
    b".git:x", b"git~1.", b"a\\.git", b"a\\.git\\b", b"x\\git~1", ".g\u200cit".encode(), "\ufeff.git".encode(),
    ".gi\u202et".encode(),
    b".gitx", b"git", b".gi", b"git~2", b"xgit~1", b".git\xff", b".git\xed\xa0\x80", ".git\uffff".encode(),
    ".git\U0001fffe.x".encode(), b".gi\xfft",
    b".gitmodules", b".gitignore", b".git-x", b"...git",
    b"a", b"\xff\xfe", b"git~10", b".git~1", b" .git", b"a\\b", b"COM1", b"x:y", b"new\nline", "é.git".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_what_gits_own_check_says(tmp_path: Path, name: bytes) -> None:
    """`git fsck --strict` of a tree that was written past git's own precautions."""

    def git(*arguments: str, said: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", "-C", str(tmp_path), *arguments], input=said, capture_output=True, check=check
        )

    git("init", "-q")
    blob = git("hash-object", "-w", "--stdin", said=b"x").stdout.strip()
    entry = b"100644 " + name + b"\0" + bytes.fromhex(blob.decode())
    git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", said=entry)
    complaint = git("fsck", "--strict", check=False).stderr
    assert refused(name) == (b"hasDotgit" in complaint), complaint
