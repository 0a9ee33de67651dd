"""Writes the list of event types in docs/journal-format.md from the dataclasses: `journal_doc.py [--check]`.

Only the part between the two marks is written; the rest of the page is by hand. With `--check` it changes nothing
and ends with 1 when that part is not what the dataclasses say.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from interlock.orchestrator.domain import events, model

TARGET = Path(__file__).resolve().parents[1] / "docs/journal-format.md"
BEGIN = "<!-- begin: written by scripts/journal_doc.py -->"
END = "<!-- end: written by scripts/journal_doc.py -->"
RECORDS: dict[str, type[Any]] = {
    "policy": model.Policy,
    "stage": model.Stage,
    "rule": model.Rule,
    "group": model.Group,
    "budget": model.Budget,
    "step spec": model.StepSpec,
    "failure": model.Failure,
    "model call": model.ModelCall,
    "passed gateway": model.PassedGateway,
    "prepared": model.Prepared,
    "ruling": model.Ruling,
    "policy named": model.PolicyRef,
    "rule hit": model.RuleHit,
    "approval": model.Approval,
    "early decision": model.EarlyDecision,
    "bounds": model.Bounds,
    "command prefix": model.CommandPrefix,
    "fork": model.ForkOf,
    "inherited step": model.InheritedStep,
    "inherited effect": model.InheritedEffect,
}
_NAMES = {cls: name for name, cls in RECORDS.items()}
_SUBJECTS = ("run", "step", "approval", "envelope", "model", "workspace")
_PLAIN = {str: "text", int: "integer", bool: "boolean"}


def render() -> str:
    """The generated part, marks included."""
    types = ["| type | meaning | fields of `data` |", "|---|---|---|"]
    by_subject = sorted(events.REGISTRY.items(), key=lambda item: _SUBJECTS.index(item[0].split(".")[0]))
    for type_, cls in by_subject:
        types.append(f"| `{type_}` | {_doc(cls)} | {_fields(cls)} |")
    records = [f"| {name} | {_doc(cls)} | {_fields(cls)} |" for name, cls in RECORDS.items()]
    return "\n".join(
        [
            BEGIN,
            "A field whose default is given is left out when it has that value.",
            "",
            *types,
            "",
            "### Records inside `data`",
            "",
            "| record | meaning | fields |",
            "|---|---|---|",
            *records,
            END,
        ]
    )


def _doc(cls: type[Any]) -> str:
    first = (cls.__doc__ or "").split("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


def _fields(cls: type[Any]) -> str:
    hints = get_type_hints(cls)
    shown = [f for f in dataclasses.fields(cls) if f.name != "step"]
    return "<br>".join(f"`{f.name}` {_kind(hints[f.name])}{_default(f)}" for f in shown)


def _kind(hint: Any) -> str:
    if get_origin(hint) is UnionType:
        (hint,) = (arm for arm in get_args(hint) if arm is not NoneType)
        return _kind(hint)
    if get_origin(hint) is tuple:
        return f"list of {_kind(get_args(hint)[0])}"
    if get_origin(hint) is not None and issubclass(get_origin(hint), Mapping):
        return "object"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in hint)
    return _NAMES.get(hint) or _PLAIN[hint]


def _default(f: dataclasses.Field[Any]) -> str:
    value = f.default
    if value is dataclasses.MISSING:
        if f.default_factory is dataclasses.MISSING:
            return ""
        value = f.default_factory()
    if value is None:
        return " = null"
    if isinstance(value, Enum):
        return f" = `{value.value}`"
    if isinstance(value, bool):
        return f" = {str(value).lower()}"
    if isinstance(value, str):
        return f' = "{value}"'
    return " = all defaults" if dataclasses.is_dataclass(value) else f" = {value}"


def main() -> int:
    """Writes or checks the part."""
    page = TARGET.read_text()
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.stderr.write(f"docs/journal-format.md lacks the lines {BEGIN} and {END}\n")
        return 1
    text = before + render() + after
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
        return 0
    if page == text:
        return 0
    sys.stderr.write("docs/journal-format.md is not current: run python scripts/journal_doc.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
