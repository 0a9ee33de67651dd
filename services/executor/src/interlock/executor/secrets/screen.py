"""No secret gets into the content store: what a step with secrets leaves is looked at before any of it is stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import join, shown
from interlock.executor.secrets.opened import Opened
from interlock.executor.snapshots.store import Store

_CHUNK: Final = 1 << 20


class Screen:
    """See `interlock.executor.snapshots.batch.Screen`. For one capture."""

    def __init__(self, secrets: Opened) -> None:
        self._secrets = secrets

    def file(self, fd: int, path: bytes, store: Store) -> None:
        """A file that holds a secret in any form is refused, unless its content was in the store before."""
        redactor, digest = self._secrets.redactor(), hashlib.sha256()
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
            redactor.feed(chunk)
        redactor.finish()
        os.lseek(fd, 0, os.SEEK_SET)
        if redactor.found and not store.has(digest.digest()):
            raise self._refused(redactor.found, path, "holds")

    def directory(
        self, path: bytes, names: Iterable[tuple[bytes, bytes]], encoded: bytes, store: Store
    ) -> None:
        """The same for names, also across the parts of a path, and targets of links."""
        found: list[tuple[set[str], bytes]] = []
        above = self._in(path)
        for name, target in names:
            here = join(path, name)
            if named := (self._in(here) - above) | self._in(name) | self._in(target):
                found.append((named, here))
        if found and not store.has(hashlib.sha256(encoded).digest()):
            raise self._refused(*found[0], "or where it leads, holds")

    def _in(self, text: bytes) -> set[str]:
        redactor = self._secrets.redactor()
        redactor.feed(text)
        redactor.finish()
        return redactor.found

    def _refused(self, names: set[str], path: bytes, how: str) -> InterlockError:
        named, where = ", ".join(sorted(names)), self._secrets.text(shown(path))
        return InterlockError(
            Reason.EFFECT_NOT_PUBLISHABLE,
            f"The step left a secret in the workspace: {where} {how} {named}. Nothing of it was stored.",
            field="secrets",
            fix="Have the command write it under /tmp, or not at all.",
            metadata={"path": where, "secrets": named},
        )
