"""Random changes to a directory, by ordinary system calls. Runs anywhere: only the standard library.

`python trees_mutator.py TOP < PROGRAM` where the program is a Python literal: a list of (operation, path, argument).
An operation that cannot be done does nothing.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
from typing import Any


def run(top: bytes, program: list[tuple[Any, ...]]) -> None:
    for operation, path, argument in program:
        try:
            OPERATIONS[operation](top, os.path.join(top, path), argument)
        except (OSError, shutil.Error):
            pass


def _not_through_links(path: str, flags: int) -> int:
    """A random link may lead to a file of this machine."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def write(top: bytes, path: bytes, content: bytes) -> None:
    with open(path, "wb", opener=_not_through_links) as file:
        file.write(content)


def append(top: bytes, path: bytes, content: bytes) -> None:
    with open(path, "ab", opener=_not_through_links) as file:
        file.write(content)


def mkdir(top: bytes, path: bytes, _: None) -> None:
    os.makedirs(path)


def remove(top: bytes, path: bytes, _: None) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def replace(top: bytes, path: bytes, _: None) -> None:
    shutil.rmtree(path)
    os.mkdir(path)


def chmod(top: bytes, path: bytes, mode: int) -> None:
    if not os.path.islink(path):
        os.chmod(path, mode)


def link(top: bytes, path: bytes, target: bytes) -> None:
    os.symlink(target, path)


def move(top: bytes, path: bytes, target: bytes) -> None:
    """As mv(1) where a directory cannot be renamed (EXDEV in an overlay): copy, then remove."""
    new = os.path.join(top, target)
    if (
        os.path.lexists(new)
        or not os.path.isdir(os.path.dirname(new))
        or (new + b"/").startswith(path + b"/")
    ):
        return
    if os.path.islink(path) or not os.path.isdir(path):
        os.rename(path, new)
    else:
        shutil.copytree(path, new, symlinks=True)
        shutil.rmtree(path)


def touch(top: bytes, path: bytes, _: None) -> None:
    os.utime(path, follow_symlinks=False)


OPERATIONS = {
    name: globals()[name]
    for name in ("write", "append", "mkdir", "remove", "replace", "chmod", "link", "move", "touch")
}

if __name__ == "__main__":
    run(os.fsencode(sys.argv[1]), ast.literal_eval(sys.stdin.read()))
