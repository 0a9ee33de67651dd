"""Changes of modes, owners and times that a step asks for.

Landlock does not guard them: a step could change those of every file of its uid. The filter stops such a call, and
the supervisor makes it in the step's place, on a descriptor whose file is below one of the step's own directories.
The file that was looked at is the file that is changed, whatever is renamed meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from typing import Final

_RECEIVE, _SEND, _VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTICE: Final = 80
_AT_FDCWD: Final = -100
_NOFOLLOW, _EMPTY_PATH = 0x100, 0x1000
_PATH_MAX: Final = 4096
_UNCHANGED: Final = 0xFFFFFFFF
_UTIME_NOW, _UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_MODES: Final = 0o7777

CALLS: Final = {
    "x86_64": {
        90: "chmod", 91: "fchmod", 268: "fchmodat", 452: "fchmodat2",
        92: "chown", 93: "fchown", 94: "lchown", 260: "fchownat", 280: "utimensat",
    },
    "aarch64": {52: "fchmod", 53: "fchmodat", 452: "fchmodat2", 55: "fchown", 54: "fchownat", 88: "utimensat"},
}  # fmt: skip


class Question:
    """One call that a process waits in: who, and its arguments."""

    def __init__(self, listener: int, notice: bytes) -> None:
        self._listener = listener
        self.id, self.pid, _, self.number, _, _ = struct.unpack_from("=QIIiIQ", notice)
        self.arguments: tuple[int, ...] = struct.unpack_from("=6Q", notice, 32)

    def still_asked(self) -> bool:
        """Whether the process still waits; else its number may already be another's."""
        try:
            fcntl.ioctl(self._listener, _VALID, struct.pack("=Q", self.id))
        except OSError:
            return False
        return True

    def answer(self, error: int) -> None:
        """Let the call return: 0, or a failure with `error`."""
        reply = struct.pack("=QqiI", self.id, 0, -error, 0)
        try:
            fcntl.ioctl(self._listener, _SEND, reply)
        except OSError:
            return  # the process is gone

    def memory(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of its memory; fewer where it ends. Raises OSError(EFAULT)."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            if not self.still_asked():
                raise ProcessLookupError
            try:
                return os.pread(memory.fileno(), size, address)
            except (OSError, OverflowError):
                raise OSError(errno.EFAULT, "") from None

    def path(self, address: int) -> bytes:
        """A text that ends with a NUL."""
        text, end, _ = self.memory(address, _PATH_MAX).partition(b"\0")
        if not end:
            raise OSError(errno.ENAMETOOLONG, "")
        return text


class Metadata:
    """Answers the questions of one step.

    Args:
        listener: where they arrive.
        places: the step's own directories, resolved; nothing outside of them is changed.
        uid, gid: the step's.
    """

    def __init__(self, listener: int, places: tuple[bytes, ...], uid: int, gid: int) -> None:
        self._listener, self._uid, self._gid = listener, uid, gid
        self._places = tuple(place + b"/" for place in places)
        self._calls = CALLS[os.uname().machine]

    def serve(self) -> None:
        """Answer one question. The listener must be readable."""
        notice = bytearray(_NOTICE)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, notice)
        except OSError:
            return  # who asked has been killed
        question = Question(self._listener, bytes(notice))
        try:
            self._act(question)
        except OSError as error:
            question.answer(error.errno or errno.EPERM)
        else:
            question.answer(0)

    def _act(self, question: Question) -> None:
        name, given = self._calls[question.number], question.arguments
        act, flags, rest = self._meaning(name, question)
        if name in ("fchmod", "fchown") or (name == "utimensat" and given[1] == 0):
            path, base = b"", given[0]
            flags |= _EMPTY_PATH
        elif name in ("chmod", "chown", "lchown"):
            path, base = question.path(given[0]), _AT_FDCWD
        else:
            path, base = question.path(given[rest]), given[0]
        file = self._open(question, base, path, flags)
        try:
            self._check(file)
            act(file)
        finally:
            os.close(file)

    def _meaning(self, name: str, question: Question) -> tuple[Callable[[int], None], int, int]:
        """What to do to the file, its AT_ flags, and which argument is the path."""
        given = question.arguments
        if "chmod" in name:
            at = 2 if "at" in name else 1
            mode = given[at] & _MODES
            flags = given[3] & 0xFFFFFFFF if name == "fchmodat2" else 0
            return (lambda file: _chmod(file, mode)), flags, 1
        if "chown" in name:
            at = 2 if name == "fchownat" else 1
            self._own(given[at] & _UNCHANGED, given[at + 1] & _UNCHANGED)
            flags = given[4] & 0xFFFFFFFF if name == "fchownat" else _NOFOLLOW if name == "lchown" else 0
            return (lambda _: None), flags, 1
        times = _times(question, given[2])
        return (lambda file: _utime(file, times)), given[3] & 0xFFFFFFFF, 1

    def _own(self, uid: int, gid: int) -> None:
        """An owner can only be what it is already."""
        if uid not in (self._uid, _UNCHANGED) or gid not in (self._gid, _UNCHANGED):
            raise PermissionError(errno.EPERM, "")

    def _open(self, question: Question, base: int, path: bytes, flags: int) -> int:
        """The file that the process means, without access to it."""
        pid = question.pid
        if not path and not flags & _EMPTY_PATH:
            raise FileNotFoundError(errno.ENOENT, "")
        number = struct.unpack("=i", struct.pack("=I", base & 0xFFFFFFFF))[0]
        start = b"/proc/%d/cwd" % pid if number == _AT_FDCWD else b"/proc/%d/fd/%d" % (pid, number)
        for own in (b"/proc/self/", b"/dev/fd/"):
            if path.startswith(own):
                # Named from here, it would be the supervisor's.
                path = b"/proc/%d/" % pid + (b"fd/" if own == b"/dev/fd/" else b"") + path.removeprefix(own)
        how = os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if flags & _NOFOLLOW else 0)
        file = os.open(path, how) if path.startswith(b"/") else _relative(start, path, how)
        if not question.still_asked():
            os.close(file)
            raise ProcessLookupError(errno.ESRCH, "")
        return file

    def _check(self, file: int) -> None:
        """Raises PermissionError for what is not below the step's directories."""
        place = os.readlink(b"/proc/self/fd/%d" % file) + b"/"
        if not place.startswith(self._places):
            raise PermissionError(errno.EPERM, "")


def _relative(start: bytes, path: bytes, how: int) -> int:
    try:
        directory = os.open(start, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.EBADF, "") from None
    if not path:
        return directory
    try:
        return os.open(path, how, dir_fd=directory)
    finally:
        os.close(directory)


def _chmod(file: int, mode: int) -> None:
    # Through /proc: fchmod refuses a descriptor without access. On a symlink this fails, as it does for the step.
    os.chmod(f"/proc/self/fd/{file}", mode)


def _times(question: Question, address: int) -> tuple[tuple[int, int], ...] | None:
    """(seconds, nanoseconds) of access and change, as utimensat has them; None: now."""
    if address == 0:
        return None
    data = question.memory(address, 32)
    if len(data) < 32:
        raise OSError(errno.EFAULT, "")
    numbers = struct.unpack("=4q", data)
    return (numbers[0], numbers[1]), (numbers[2], numbers[3])


def _utime(file: int, times: tuple[tuple[int, int], ...] | None) -> None:
    name = f"/proc/self/fd/{file}"
    if times is None:
        os.utime(name)
        return
    if all(nanoseconds == _UTIME_NOW for _, nanoseconds in times):
        os.utime(name)
        return
    status = os.stat(file)
    found = (status.st_atime_ns, status.st_mtime_ns)
    values = [_nanoseconds(pair, old) for pair, old in zip(times, found, strict=True)]
    os.utime(name, ns=(values[0], values[1]))


def _nanoseconds(pair: tuple[int, int], old: int) -> int:
    seconds, nanoseconds = pair
    if nanoseconds == _UTIME_OMIT:
        return old
    if nanoseconds == _UTIME_NOW:
        return time.time_ns()
    if not 0 <= nanoseconds < 1_000_000_000:
        raise OSError(errno.EINVAL, "")
    return seconds * 1_000_000_000 + nanoseconds
