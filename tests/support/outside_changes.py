"""What people and their programs do to a directory, by ordinary system calls; nothing that cannot be done is an error.

`python outside_changes.py TOP SEED COUNT` does COUNT random ones. Needs only the standard library.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

NAMES = ["a", "b", "c", "d1", "d2", "\udcff"]
_libc = ctypes.CDLL(None, use_errno=True)


def put(path: Path, text: str, flags: int = os.O_TRUNC) -> None:
    """Write to a file; a fifo is refused instead of waiting for its reader."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | flags)
    with open(fd, "w") as file:
        file.write(text)


class Outside:
    """Changes `top/in`, with `top/out` beside it on the same file system. `held` are files kept open for writing."""

    def __init__(self, top: Path) -> None:
        self.inside, self.outside = top / "in", top / "out"
        for directory in (self.inside, self.outside):
            directory.mkdir(exist_ok=True)
        self.held: list[int] = []
        self.made = 0

    def do(self, operation: str, first: str, second: str, text: str) -> None:
        """One operation of OPERATIONS on paths below `in` (`out` where it says so)."""
        try:
            OPERATIONS[operation](self, self.inside / first, self.inside / second, text)
        except (OSError, shutil.Error, ValueError):
            pass

    def release(self) -> None:
        """Close the files kept open."""
        while self.held:
            os.close(self.held.pop())

    def write(self, path: Path, _: Path, text: str) -> None:
        put(path, text)

    def append(self, path: Path, _: Path, text: str) -> None:
        put(path, text, os.O_APPEND)

    def save(self, path: Path, _: Path, text: str) -> None:
        """As editors do: a new file renamed over the old one."""
        new = path.with_name(".tmp~")
        put(new, text)
        new.rename(path)

    def scratch(self, path: Path, _: Path, text: str) -> None:
        put(path, text)
        path.unlink()

    def truncate(self, path: Path, _: Path, text: str) -> None:
        if path.is_file():
            os.truncate(path, len(text))

    def map_write(self, path: Path, _: Path, text: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            mapped = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        with mapped:
            data = text.encode()[: len(mapped)]
            mapped[: len(data)] = data

    def chmod(self, path: Path, _: Path, text: str) -> None:
        if not path.is_symlink():
            path.chmod(0o700 | len(text) * 9)

    def touch(self, path: Path, _: Path, text: str) -> None:
        os.utime(path, ns=(0, len(text) * 10**9), follow_symlinks=False)

    def mkdir(self, path: Path, _: Path, text: str) -> None:
        path.mkdir(parents=True)

    def remove(self, path: Path, _: Path, text: str) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def remake(self, path: Path, _: Path, text: str) -> None:
        """Another directory at the same path."""
        if not path.is_dir():
            return
        shutil.rmtree(path)
        path.mkdir()
        put(path / "b", text)

    def rename(self, path: Path, other: Path, text: str) -> None:
        path.rename(other)

    def exchange(self, path: Path, other: Path, text: str) -> None:
        _libc.renameat2(-100, os.fsencode(path), -100, os.fsencode(other), 2)

    def move_out(self, path: Path, other: Path, text: str) -> None:
        path.rename(self.outside / other.name)

    def move_in(self, path: Path, other: Path, text: str) -> None:
        (self.outside / other.name).rename(path)

    def make_outside(self, path: Path, other: Path, text: str) -> None:
        """A file and a directory with something in it, to be moved or linked in."""
        put(self.outside / path.name, text)
        deep = self.outside / other.name / "d1"
        deep.mkdir(parents=True)
        put(deep / "a", text)

    def change_outside(self, path: Path, other: Path, text: str) -> None:
        """Below a directory that may have been inside; or a file that may have a name inside."""
        put(self.outside / other.name / "d1" / "a", text, os.O_APPEND)

    def link_in(self, path: Path, other: Path, text: str) -> None:
        os.link(self.outside / other.name, path)

    def write_outside(self, path: Path, other: Path, text: str) -> None:
        put(self.outside / other.name, text, os.O_APPEND)

    def link(self, path: Path, other: Path, text: str) -> None:
        os.link(path, other, follow_symlinks=False)

    def publish_by_link(self, path: Path, other: Path, text: str) -> None:
        """As mail programs do: linked to its name while still open, the first name removed.

        The first name is never used again: what is told of it then is one of the things docs/decisions/0009 names.
        """
        self.made += 1
        new = path.with_name(f".new{self.made}")
        self.held.append(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.link(new, path)
        new.unlink()

    def hold(self, path: Path, _: Path, text: str) -> None:
        self.held.append(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))

    def write_held(self, path: Path, _: Path, text: str) -> None:
        for fd in self.held:
            os.write(fd, text.encode())

    def let_go(self, path: Path, _: Path, text: str) -> None:
        self.release()

    def symlink(self, path: Path, other: Path, text: str) -> None:
        path.symlink_to(other)

    def swap_symlink(self, path: Path, other: Path, text: str) -> None:
        new = path.with_name(".tmp~")
        new.symlink_to(text or "x")
        new.rename(path)

    def fifo(self, path: Path, _: Path, text: str) -> None:
        os.mkfifo(path)


Operation = Callable[[Outside, Path, Path, str], None]
OPERATIONS: dict[str, Operation] = {
    name: value
    for name, value in vars(Outside).items()
    if callable(value) and name not in ("do", "release") and name[0] != "_"
}


def random_path(source: random.Random) -> str:
    return "/".join(source.choices(NAMES, k=source.choice([1, 1, 2, 2, 3])))


def main(top: str, seed: str, count: str) -> None:
    source, outside = random.Random(seed), Outside(Path(top))
    operations = sorted(OPERATIONS)
    for _ in range(int(count)):
        text = "x" * source.randrange(6)
        outside.do(source.choice(operations), random_path(source), random_path(source), text)


if __name__ == "__main__":
    main(*sys.argv[1:])
