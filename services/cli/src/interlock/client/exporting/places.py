"""Where an export is written: beside its place first, so that it is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.common.errors import InterlockError, Reason


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """A directory to write into, which becomes `target` at the end. Raises INVALID_ARGUMENT unless that is
    absent or an empty directory; OSError."""
    if os.path.lexists(target) and not _is_empty_directory(target):
        raise _refused(target, "exists and is not an empty directory")
    part = _part(target)
    try:
        part.mkdir(mode=0o755)
    except OSError as error:
        raise _refused(target, f"cannot be made: {error.strerror}") from None
    try:
        yield part
        try:
            os.rename(part, target)
        except OSError as error:
            raise _refused(target, f"cannot be put in its place: {error.strerror}") from None
    except BaseException:
        _remove(part)
        raise


@contextmanager
def new_file(target: Path) -> Iterator[int]:
    """A descriptor to write to; what was written becomes `target` at the end. An existing file is replaced."""
    if target.is_dir():
        raise _refused(target, "is a directory")
    part = _part(target)
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _refused(target, f"cannot be written: {error.strerror}") from None
    try:
        try:
            yield fd
        finally:
            os.close(fd)
        os.rename(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _part(target: Path) -> Path:
    return target.parent / f".{target.name[:200]}.{os.urandom(4).hex()}.part"


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and next(iter(path.iterdir()), None) is None


def _remove(part: Path) -> None:
    for directory, _, _ in os.walk(part):
        os.chmod(directory, 0o700)
    shutil.rmtree(part, ignore_errors=True)


def _refused(target: Path, why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{target} {why}.",
        field="out",
        fix="Name a place that does not exist yet, in a directory you may write to.",
    )
