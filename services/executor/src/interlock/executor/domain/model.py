"""The nouns: what a step asks for, and what came of it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from interlock.common.digests import digest_json, sha256_text
from interlock.executor.domain.limits import Limits

JsonValue = str | int | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class EffectKey:
    """Names one attempt (from 1) of one step (from 1) of one run."""

    run: str
    step: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.run}/{self.step}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Read a file; lines count from 1, both ends inclusive, 0 leaves an end open."""

    kind: ClassVar[str] = "read_file"
    path: str
    start_line: int = 0
    end_line: int = 0

    def facts(self) -> dict[str, JsonValue]:
        """What the digest says of it."""
        return {"path": _text(self.path), "start_line": self.start_line, "end_line": self.end_line}


@dataclass(frozen=True, slots=True)
class EditFile:
    """Write a file: exactly one of the whole content and a unified diff."""

    kind: ClassVar[str] = "edit_file"
    path: str
    new_content: bytes | None = None
    patch: bytes | None = None

    def facts(self) -> dict[str, JsonValue]:
        """What the digest says of it; content by its digest."""
        facts: dict[str, JsonValue] = {"path": _text(self.path)}
        for name, data in (("new_content", self.new_content), ("patch", self.patch)):
            if data is not None:
                facts[name] = {"digest": sha256_text(data), "bytes": len(data)}
        return facts


@dataclass(frozen=True, slots=True)
class SecretUse:
    """A secret of the executor that a step is given, by name.

    `appears_as` is the name of an environment variable, or a path `/run/secrets/<name>`. Values are in no request.
    """

    name: str
    appears_as: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a shell line or an argument vector: exactly one is not empty."""

    kind: ClassVar[str] = "run_command"
    command: str = ""
    argv: tuple[str, ...] = ()
    working_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    network: tuple[str, ...] = ()
    allowed_exit_codes: tuple[int, ...] = ()
    secrets: tuple[SecretUse, ...] = ()

    def facts(self) -> dict[str, JsonValue]:
        """What the digest says of it. The argument vector and environment in force are beside it in the request."""
        facts: dict[str, JsonValue] = {
            "command": _text(self.command),
            "argv": [_text(item) for item in self.argv],
            "working_dir": _text(self.working_dir),
            "env": {name: _text(value) for name, value in self.env.items()},
            "network": list(self.network),
            "allowed_exit_codes": list[JsonValue](sorted(set(self.allowed_exit_codes))),
        }
        if self.secrets:  # only then, so that steps without keep the digests they always had
            facts["secrets"] = {use.appears_as: use.name for use in self.secrets}
        return facts


Action = ReadFile | EditFile | RunCommand


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One step to compute. `limits` is None for kinds that run no process.

    `policy` is the digest of the policy that decided about it, empty where no rules did.
    """

    key: EffectKey
    workspace: str
    action: Action
    limits: Limits | None
    policy: str = ""

    def fingerprint(self) -> str:
        """Two requests under one key are the same request when this is the same."""
        return digest_json(
            {
                "workspace": self.workspace,
                "kind": self.action.kind,
                "input": self.action.facts(),
                "limits": limit_facts(self.limits),
                **({"policy": self.policy} if self.policy else {}),
            },
            "interlock.executor.fingerprint.v1",
        )


def limit_facts(limits: Limits | None) -> dict[str, JsonValue] | None:
    """Limits as the digest has them: every field by its name."""
    return None if limits is None else {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


class EffectState(enum.StrEnum):
    """Where an effect is in its life. APPLYING is seen only in the record, between intent and publication."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    FAILED = "failed"
    APPLYING = "applying"
    APPLIED = "applied"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed; `reason` is the name of an error reason."""

    reason: str
    message: str
    field: str = ""
    fix: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _text(value: str) -> str:
    # Paths can hold bytes that are not UTF-8, as lone surrogates; canonical JSON cannot.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
