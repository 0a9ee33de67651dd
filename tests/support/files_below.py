"""What a directory holds while a program is at work in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(top: Path) -> Iterator[tuple[Path, bytes]]:
    """Every regular file, and its content; links are not followed, and what vanishes meanwhile is left out."""
    for directory, _, names in os.walk(top):
        for path in (Path(directory, name) for name in names):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                yield path, path.read_bytes()
            except FileNotFoundError:
                continue
