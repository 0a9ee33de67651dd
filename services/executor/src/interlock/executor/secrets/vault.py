"""Where the values of secrets come from: files of a directory, and variables of the executor's environment.

They are read anew for every step, so that a changed file counts from the next step on. They are never written.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Final

from interlock.common.config import env_path, env_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import SecretUse
from interlock.executor.secrets.encodings import LEAST, LINE_BREAKS
from interlock.executor.secrets.matching import Patterns
from interlock.executor.secrets.opened import NONE, Opened
from interlock.executor.secrets.redactor import MOST_BREAKS, marker, redact

DIRECTORY: Final = "INTERLOCK_SECRETS_DIR"
PREFIX: Final = "INTERLOCK_SECRET_"
MOST_BYTES: Final = 16 * 1024

_RECENT: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_BREAKS: Final = re.compile(rb"[\r\n]{%d,}" % (MOST_BREAKS + 1))


class Vault:
    """The executor's secrets. Thread-safe; `open` blocks.

    Args:
        directory: one file per secret, named as the secret; None for none.
        variables: value by the name that `variable_of` gives.
    """

    def __init__(self, directory: Path | None = None, variables: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._variables = dict(variables or {})
        self._recent: OrderedDict[tuple[tuple[str, bytes], ...], Patterns] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_env(cls, env: MutableMapping[str, str] | None = None) -> Vault:
        """INTERLOCK_SECRETS_DIR and INTERLOCK_SECRET_<NAME>. The latter are taken out of `env` (by default this
        process's environment), so that no program that is started inherits them.
        """
        source = os.environ if env is None else env
        directory = env_path(DIRECTORY, Path("/"), source) if env_text(DIRECTORY, env=source) else None
        found = {name: value for name, value in source.items() if name.startswith(PREFIX)}
        for name in found:
            del source[name]
        return cls(directory, found)

    @property
    def directories(self) -> tuple[Path, ...]:
        """Where files with values are."""
        return (self._directory,) if self._directory is not None else ()

    def open(self, uses: Sequence[SecretUse]) -> Opened:
        """The values of what a step names. Raises SECRET_NOT_FOUND, SECRET_UNUSABLE, naming the secret."""
        if not uses:
            return NONE
        values = {name: self._value(name) for name in sorted({use.name for use in uses})}
        markers = [marker(name) for name in values]
        for name, value in values.items():
            if any(value.strip() in each for each in markers):
                raise _unusable(name, "is part of what would be shown in its place")
        return Opened(uses, values, self._patterns(values))

    def clean(self, text: str) -> str:
        """Text, such as a line of a log, without the values that were opened lately."""
        with self._lock:
            known = list(self._recent.values())
        data = text.encode("utf-8", "surrogateescape") if known else b""
        for patterns in known:
            data = redact(patterns, data)
        return data.decode("utf-8", "surrogateescape") if known else text

    def _patterns(self, values: Mapping[str, bytes]) -> Patterns:
        key = tuple(values.items())
        with self._lock:
            found = self._recent.pop(key, None) or Patterns(values)
            self._recent[key] = found
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return found

    def _value(self, name: str) -> bytes:
        """One value, without a line break at its end."""
        value = self._read(name)
        if value.endswith(b"\n"):
            value = value[:-1].removesuffix(b"\r")
        _check(name, value)
        return value

    def _read(self, name: str) -> bytes:
        if not _NAME.match(name):
            raise _not_found(name)
        variable = self._variables.get(variable_of(name))
        path = self._directory / name if self._directory is not None else None
        if variable is None:
            if path is None:
                raise _not_found(name)
            return _file(name, path)
        if path is not None and path.exists():
            raise _unusable(name, f"is both in a file and in {variable_of(name)}")
        return variable.encode("utf-8", "surrogateescape")


def variable_of(name: str) -> str:
    """The variable of the executor that can hold a secret: INTERLOCK_SECRET_DEPLOY_TOKEN for `deploy-token`."""
    return PREFIX + re.sub("[.-]", "_", name).upper()


def _file(name: str, path: Path) -> bytes:
    try:
        # Not for writing, and without waiting where it is a fifo. A link is followed: orchestrators mount so.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise _not_found(name) from None
    except OSError as error:
        raise _unusable(name, f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(name, "is not a regular file")
        if stat.S_IMODE(status.st_mode) & 0o007:
            raise _unusable(
                name, "is in a file that every user of the machine can open", "Run `chmod o-rwx` on it."
            )
        value = os.read(fd, MOST_BYTES + 3)
        while len(value) < MOST_BYTES + 3 and (more := os.read(fd, MOST_BYTES + 3 - len(value))):
            value += more
        return value
    finally:
        os.close(fd)


def _check(name: str, value: bytes) -> None:
    if len(value) > MOST_BYTES:
        raise _unusable(name, f"has more than {MOST_BYTES:,} bytes")
    if len(value.strip().translate(None, LINE_BREAKS)) < LEAST:
        raise _unusable(
            name,
            f"has fewer than {LEAST} bytes, and could not be told from other text",
            f"Use a value of at least {LEAST} bytes.",
        )
    if b"\0" in value:
        raise _unusable(
            name, "holds a NUL byte", "Encode it, for example by `base64`, and decode it in the step."
        )
    if _BREAKS.search(value):
        raise _unusable(name, f"has more than {MOST_BREAKS} line breaks in a row")
    try:
        value.decode()
    except UnicodeDecodeError:
        raise _unusable(
            name, "is not UTF-8", "Encode it, for example by `base64`, and decode it in the step."
        ) from None


def _not_found(name: str) -> InterlockError:
    known = f" or {variable_of(name)}" if _NAME.match(name) else ""
    return InterlockError(
        Reason.SECRET_NOT_FOUND,
        f"The executor has no secret {name[:64]!r}.",
        field="secrets",
        fix=f"Give the executor a file of that name in {DIRECTORY}{known}, or correct the step.",
        metadata={"secret": name[:64]},
    )


def _unusable(name: str, why: str, fix: str = "") -> InterlockError:
    return InterlockError(
        Reason.SECRET_UNUSABLE,
        f"The secret {name!r} {why}.",
        field="secrets",
        fix=fix,
        metadata={"secret": name},
    )
