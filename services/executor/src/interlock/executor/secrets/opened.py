"""The secrets of one step: what it is given, and how what comes of it is cleaned of them.

Values are in no `repr`, no log, no message; they leave this object only for the sandbox.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import Failure, RunCommand, SecretUse
from interlock.executor.sandbox.base import FILES
from interlock.executor.sandbox.environment import FIXED
from interlock.executor.secrets.hosts import HostNames
from interlock.executor.secrets.matching import Patterns
from interlock.executor.secrets.redactor import Redactor, redact
from interlock.executor.snapshots.diff import Diff, FileDiff


class Opened:
    """Made by `Vault.open`. Without secrets, everything here changes nothing and costs nothing."""

    def __init__(self, uses: Sequence[SecretUse], values: Mapping[str, bytes], patterns: Patterns) -> None:
        self._uses, self._values, self.patterns = tuple(uses), dict(values), patterns

    def __repr__(self) -> str:
        return f"Opened({', '.join(sorted(self._values))})"

    def __bool__(self) -> bool:
        return bool(self._values)

    def variables(self) -> dict[str, str]:
        """What the step's environment has besides."""
        return {use.appears_as: self._values[use.name].decode() for use in self._uses if not _is_file(use)}

    def files(self) -> dict[str, bytes]:
        """What the step finds as files: content by path."""
        return {use.appears_as: self._values[use.name] for use in self._uses if _is_file(use)}

    def redactor(self) -> Redactor:
        """For one stream."""
        return Redactor(self.patterns)

    def refuse_in(self, action: RunCommand) -> None:
        """A value has no business in a request, which is recorded. Raises SECRET_UNUSABLE."""
        given = [action.command, *action.argv, action.working_dir, *action.env, *action.env.values()]
        for text in given if self else ():
            redactor = self.redactor()
            redactor.feed(_bytes(text))
            redactor.finish()
            for name in redactor.found:
                raise _given(name, "secrets")
        for index, text in enumerate(action.network):
            if self and (name := self._host_names.found(text)):
                raise _given(name, f"network[{index}]")

    def text(self, text: str) -> str:
        """Text for people or programs; names of files may hold bytes that are not UTF-8."""
        return redact(self.patterns, _bytes(text)).decode("utf-8", "surrogateescape") if self else text

    def host(self, text: str) -> str:
        """What a step called a host, or a text about one."""
        return self.text(self._host_names.clean(text)) if self else text

    @functools.cached_property
    def _host_names(self) -> HostNames:
        return HostNames(self._values)

    def failure(self, failure: Failure) -> Failure:
        """A failure whose texts may quote what a step wrote."""
        return dataclasses.replace(
            failure,
            message=self.text(failure.message),
            metadata={key: self.text(value) for key, value in failure.metadata.items()},
        )

    def error(self, error: InterlockError) -> InterlockError:
        """An error whose texts may quote what a step wrote."""
        return InterlockError(
            error.reason,
            self.text(error.message),
            field=error.field,
            fix=self.text(error.fix),
            metadata={key: self.text(value) for key, value in error.metadata.items()},
            violations=error.violations,
            retry_after=error.retry_after,
        )

    def diff(self, diff: Diff) -> Diff:
        """A difference that may show what was in the workspace before the step."""
        return (
            dataclasses.replace(diff, files=tuple(self._file(file) for file in diff.files)) if self else diff
        )

    def _file(self, file: FileDiff) -> FileDiff:
        return dataclasses.replace(
            file,
            path=self.text(file.path),
            old_path=self.text(file.old_path),
            patch=redact(self.patterns, file.patch),
        )


NONE: Final = Opened((), {}, Patterns({}))


def check_uses(action: RunCommand) -> None:
    """Each place is used once, and by nothing else. Raises INVALID_ARGUMENT."""
    places = [use.appears_as for use in action.secrets]
    for place in places:
        if places.count(place) > 1 or place in action.env or place in FIXED:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{place[:160]!r} is set by a secret and by something else.",
                field="secrets",
                fix="Let the secret appear under a name that nothing else has.",
            )


def _given(name: str, field: str) -> InterlockError:
    return InterlockError(
        Reason.SECRET_UNUSABLE,
        f"The step's input holds the value of the secret {name!r}, and is recorded.",
        field=field,
        fix="Use the variable or file that the secret appears as; replace the secret, which is known now.",
        metadata={"secret": name},
    )


def _is_file(use: SecretUse) -> bool:
    return use.appears_as.startswith(FILES + "/")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
