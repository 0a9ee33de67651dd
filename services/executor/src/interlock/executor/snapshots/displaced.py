"""What a change displaces in a directory that others write to: looked at afterwards, and put back if it was theirs.

Between a look at a path and the rename over it somebody may have written to it. So new content changes its place with
what is there (renameat2 RENAME_EXCHANGE), what is deleted is moved away, and what was displaced is then read: where it
is neither the old nor the new state of its path, it goes back. What was written through a descriptor opened before
shows at the end, as another status. On file systems without the exchange a plain rename has to do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from interlock.executor.files import failpoints, kernel
from interlock.executor.files.names import parent_and_name
from interlock.executor.files.remove import remove_tree
from interlock.executor.files.root import Root
from interlock.executor.files.scratch import Scratch
from interlock.executor.snapshots.model import DIRECTORY, Change
from interlock.executor.snapshots.present import look_at
from interlock.executor.snapshots.scan import Signature, signature

_PLACE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Seen(NamedTuple):
    change: int
    signature: Signature


class Displaced:
    """The staging directory `name` of `root`, where the file of change `i` has the name `i`, before and after.

    `scratch` is where to make and remove one with many files.
    """

    def __init__(
        self, root: Root, name: bytes, changes: Sequence[Change], scratch: Scratch | None = None
    ) -> None:
        self._root, self._name, self._changes, self._scratch = root, name, changes, scratch
        self._fd = -1
        self._seen: list[_Seen] = []

    def open(self) -> int:
        """A new descriptor of the staging directory, made if absent. Raises OSError."""
        try:
            if self._scratch is not None:
                self._scratch.make(self._root.fd, self._name)
            else:
                os.mkdir(self._name, 0o700, dir_fd=self._root.fd)
        except FileExistsError:
            pass
        return os.open(self._name, _PLACE, dir_fd=self._root.fd)

    def close(self) -> None:
        """Close what `swap` and `take_away` have opened."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._seen.clear()

    def remove(self) -> None:
        """Remove the staging directory with all in it, if there is one. Raises OSError."""
        self.close()
        if self._scratch is not None:
            self._scratch.discard(self._root.fd, self._name)
        else:
            remove_tree(self._root.fd, self._name)

    def swap(self, index: int, fd: int, name: bytes) -> bool:
        """Put the staged file at `name` in `fd`, where something is. False: that was somebody's, and is back.

        Raises OSError; FileNotFoundError where it is gone.
        """
        place = self._open()
        if not kernel.exchange(place, b"%d" % index, fd, name):
            os.rename(b"%d" % index, name, src_dir_fd=place, dst_dir_fd=fd)
            return True
        failpoints.hit("publish.displaced")
        if self._expected(index):
            return True
        self._give_back(index, fd, name)
        return False

    def take_away(self, index: int, fd: int, name: bytes) -> bool:
        """Delete `name` in `fd`. False: it was somebody's, and is back. Raises OSError."""
        place = self._open()
        try:
            os.rename(name, b"%d" % index, src_dir_fd=fd, dst_dir_fd=place)
        except FileNotFoundError:
            return True
        failpoints.hit("publish.displaced")
        if self._expected(index):
            return True
        self._restore(index, fd, name)
        return False

    def changed_since(self) -> list[bytes]:
        """Paths whose displaced file somebody wrote to after it was looked at; they are put back."""
        back: list[bytes] = []
        for index, before in self._seen:
            try:
                status = os.stat(b"%d" % index, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            # Another status is not yet other content: a second name that went changes it, too.
            if signature(status) != before and not self._known(index) and self._return(index):
                back.append(self._changes[index].path)
        return back

    def rescue(self) -> None:
        """Put back what an attempt displaced, was cut off before it looked at, and is somebody's. Raises OSError."""
        try:
            self._fd = os.open(self._name, _PLACE, dir_fd=self._root.fd)
        except OSError:
            return  # there was none, or nothing of ours is there
        for text in os.listdir(self._fd):
            index = int(text) if text.isdecimal() else len(self._changes)
            if index >= len(self._changes):
                continue
            if not self._known(index) and self._ours_is_there(self._changes[index]):
                self._return(index)
        self.close()

    def _open(self) -> int:
        if self._fd < 0:
            self._fd = self.open()
        return self._fd

    def _known(self, index: int) -> bool:
        found = look_at(self._fd, b"%d" % index)
        return found is None or found[1] in (self._changes[index].old, self._changes[index].new)

    def _expected(self, index: int) -> bool:
        found = look_at(self._fd, b"%d" % index)
        if found is None:
            return True
        self._seen.append(_Seen(index, signature(found[0])))
        return found[1] in (self._changes[index].old, self._changes[index].new)

    def _ours_is_there(self, change: Change) -> bool:
        """Whether the path shows what the change makes of it: else what is in the staging directory is half written."""
        parent, name = parent_and_name(change.path)
        try:
            fd = self._root.open_dir(parent)
        except OSError:
            return False
        try:
            found = look_at(fd, name)
        finally:
            os.close(fd)
        return (found[1] if found else None) == (None if _goes(change) else change.new)

    def _return(self, index: int) -> bool:
        change = self._changes[index]
        parent, name = parent_and_name(change.path)
        try:
            fd = self._root.open_dir(parent)
        except OSError:
            return False  # its directory is gone: it was deleted with that
        try:
            if _goes(change):
                self._restore(index, fd, name)
            else:
                self._give_back(index, fd, name)
        finally:
            os.close(fd)
        return True

    def _give_back(self, index: int, fd: int, name: bytes) -> None:
        """Swap again. Where somebody has replaced what was put there by now, theirs is newer and stays."""
        try:
            kernel.exchange(self._fd, b"%d" % index, fd, name)
            came = look_at(self._fd, b"%d" % index)
            if came is not None and came[1] != self._changes[index].new:
                kernel.exchange(self._fd, b"%d" % index, fd, name)
        except FileNotFoundError:
            pass  # somebody has deleted it by now

    def _restore(self, index: int, fd: int, name: bytes) -> None:
        try:
            kernel.rename_new(self._fd, b"%d" % index, fd, name)
        except FileExistsError:
            pass  # somebody has made a new one by now


def _goes(change: Change) -> bool:
    return change.new is None or change.new.kind == DIRECTORY
