"""Names that git allows in no tree: `.git`, and what HFS+ and NTFS would take for it.

The rules are those of git's `fsck` (`hasDotgit`) and of its `is_hfs_dotgit` and `is_ntfs_dotgit`.
"""

from __future__ import annotations

from typing import Final

_HFS_IGNORED: Final = {
    *range(0x200C, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x206A, 0x2070),
    0xFEFF,
}


def refused(name: bytes) -> bool:
    """Whether git refuses a path with this component."""
    return _hfs(name) or any(_ntfs(part) for part in name.split(b"\\"))


def _hfs(name: bytes) -> bool:
    # Where git finds bytes that are no character, it takes the name to end.
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        text = name[: error.start].decode()
    end = next((at for at, char in enumerate(text) if ord(char) in (0xFFFE, 0xFFFF)), len(text))
    return "".join(char for char in text[:end] if ord(char) not in _HFS_IGNORED).lower() == ".git"


def _ntfs(name: bytes) -> bool:
    plain = name.partition(b":")[0].rstrip(b" .").lower()
    return plain in (b".git", b"git~1")
