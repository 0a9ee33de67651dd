"""How much a fork's upper directory holds, without following anything in it."""

from __future__ import annotations

import os


def measure(root: str, most_files: int) -> tuple[int, int]:
    """Bytes on disk and entries below `root`. Stops counting soon after `most_files` entries.

    A directory that cannot be read is counted without what is in it. Hard links count once per name.
    """
    size = entries = 0
    pending = [root]
    while pending and entries <= most_files:
        try:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    entries += 1
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    size += info.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    if entries > most_files:
                        break
        except OSError:
            continue
    return size, entries
