"""The value types of the format. Each knows its JSON Schema and how to read a node; the two are kept side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from interlock.common.errors import Reason
from interlock.common.plan.limits import MAX_PATH_BYTES
from interlock.common.plan.nodes import Node
from interlock.common.plan.problems import Problem, Problems

Schema = dict[str, Any]


class Unreadable(Exception):
    """The node does not hold a value of the type; the problem has been recorded."""


class ValueType(Protocol):
    """A type of value: what a schema says of it and how it is read."""

    def schema(self) -> Schema:
        """The type as JSON Schema (draft 2020-12)."""
        ...

    def read(self, node: Node, path: str, problems: Problems) -> Any:
        """The Python value of a node. Records a problem and raises Unreadable otherwise."""
        ...


def refuse(
    node: Node,
    path: str,
    problems: Problems,
    message: str,
    fix: str = "",
    reason: Reason = Reason.PLAN_INVALID,
) -> Unreadable:
    """Record a problem at a node; the caller raises what is returned."""
    problems.add(Problem(reason, path, message, fix, node.line, node.column))
    return Unreadable()


@dataclass(frozen=True)
class Text:
    """Text. ``max_chars`` counts code points (as JSON Schema does), ``max_bytes`` UTF-8 bytes."""

    min_chars: int = 0
    max_chars: int | None = None
    max_bytes: int | None = None
    pattern: str | None = None
    hint: str = ""

    def schema(self) -> Schema:
        schema: Schema = {"type": "string"}
        if self.min_chars:
            schema["minLength"] = self.min_chars
        limit = self.max_chars if self.max_chars is not None else self.max_bytes
        if limit is not None:
            schema["maxLength"] = limit
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema

    def read(self, node: Node, path: str, problems: Problems) -> str:
        if not isinstance(node.value, str):
            fix = "Put it in quotes." if isinstance(node.value, (bool, int, Decimal)) else ""
            raise refuse(node, path, problems, f"must be text, not {node.kind()}", fix)
        text = node.value
        if len(text) < self.min_chars:
            raise refuse(node, path, problems, "must not be empty")
        if self.max_chars is not None and len(text) > self.max_chars:
            raise refuse(node, path, problems, f"has {len(text):,} characters; at most {self.max_chars:,}")
        if self.max_bytes is not None and len(text.encode()) > self.max_bytes:
            raise refuse(
                node, path, problems, f"has {len(text.encode()):,} bytes; at most {self.max_bytes:,}"
            )
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise refuse(node, path, problems, f"{text[:80]!r} is not {self.hint}")
        return text


# Absolute, NUL, or a `..` component; the executor checks again where the files are.
_PATH = r"(?!/)(?!(?:[^\0]*/)?\.\.(?:/|$))[^\0]+"


@dataclass(frozen=True)
class WorkspacePath:
    """A path relative to the workspace root, ``/``-separated, without ``..``."""

    def schema(self) -> Schema:
        return {"type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES, "pattern": f"^{_PATH}$"}

    def read(self, node: Node, path: str, problems: Problems) -> str:
        text = Text(min_chars=1, max_bytes=MAX_PATH_BYTES).read(node, path, problems)
        if text.startswith("/") or ".." in text.split("/"):
            how = "is absolute" if text.startswith("/") else "goes outside the workspace"
            fix = "Give the path relative to the workspace root, without `..`."
            raise refuse(node, path, problems, f"{text[:80]!r} {how}", fix, Reason.PATH_OUTSIDE_WORKSPACE)
        return text


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds, inclusive."""

    low: int
    high: int

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def read(self, node: Node, path: str, problems: Problems) -> int:
        value = node.value
        if isinstance(value, Decimal) and value == value.to_integral_value():
            value = int(value)  # JSON Schema counts 2.0 as an integer
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(node, path, problems, f"must be a whole number, not {node.kind()}")
        if not self.low <= value <= self.high:
            raise refuse(node, path, problems, f"is {value}; must be from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def schema(self) -> Schema:
        return {"type": "boolean"}

    def read(self, node: Node, path: str, problems: Problems) -> bool:
        if not isinstance(node.value, bool):
            raise refuse(node, path, problems, f"must be true or false, not {node.kind()}")
        return node.value


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def schema(self) -> Schema:
        return {"enum": list(self.words)}

    def read(self, node: Node, path: str, problems: Problems) -> str:
        if not isinstance(node.value, str) or node.value not in self.words:
            shown = repr(node.value[:40]) if isinstance(node.value, str) else node.kind()
            raise refuse(node, path, problems, f"is {shown}; must be one of {', '.join(self.words)}")
        return node.value


@dataclass(frozen=True)
class ListOf:
    """A list of values of one type."""

    item: ValueType
    max_items: int
    min_items: int = 0

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": self.item.schema(), "maxItems": self.max_items}
        if self.min_items:
            schema["minItems"] = self.min_items
        return schema

    def read(self, node: Node, path: str, problems: Problems) -> tuple[Any, ...]:
        if not isinstance(node.value, list):
            raise refuse(node, path, problems, f"must be a list, not {node.kind()}")
        if not self.min_items <= len(node.value) <= self.max_items:
            count = f"has {len(node.value):,} items; must have {self.min_items:,} to {self.max_items:,}"
            raise refuse(node, path, problems, count)
        return tuple(self.item.read(item, f"{path}[{i}]", problems) for i, item in enumerate(node.value))


@dataclass(frozen=True)
class MapOf:
    """A mapping from keys of one pattern to values of one type."""

    key_pattern: str
    key_hint: str
    item: ValueType
    max_items: int

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{self.key_pattern})$"},
            "additionalProperties": self.item.schema(),
            "maxProperties": self.max_items,
        }

    def read(self, node: Node, path: str, problems: Problems) -> Mapping[str, Any]:
        if not isinstance(node.value, dict):
            raise refuse(node, path, problems, f"must be a mapping, not {node.kind()}")
        if len(node.value) > self.max_items:
            raise refuse(node, path, problems, f"has {len(node.value):,} entries; at most {self.max_items:,}")
        for key, item in node.value.items():
            if not re.fullmatch(self.key_pattern, key):
                raise refuse(item, path, problems, f"the key {key[:80]!r} is not {self.key_hint}")
        return {key: self.item.read(item, f"{path}.{key}", problems) for key, item in node.value.items()}


_NAMED = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_LISTED = "[A-Za-z][A-Za-z0-9._-]{0,62}"
_PLACE = "[A-Za-z_][A-Za-z0-9_]{0,127}|/run/secrets/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"


@dataclass(frozen=True)
class SecretUses:
    """Names of secrets by where each appears. Of a list, ``deploy-token`` appears as ``DEPLOY_TOKEN``."""

    max_items: int

    def schema(self) -> Schema:
        listed = ListOf(Text(pattern=_LISTED), self.max_items).schema()
        return {"anyOf": [self._map().schema(), {**listed, "uniqueItems": True}]}

    def read(self, node: Node, path: str, problems: Problems) -> Mapping[str, str]:
        if not isinstance(node.value, list):
            return self._map().read(node, path, problems)
        hint = "the name of a secret that begins with a letter; others need a mapping"
        names = ListOf(Text(pattern=_LISTED, hint=hint), self.max_items).read(node, path, problems)
        places = {re.sub("[.-]", "_", name).upper(): name for name in names}
        if len(places) < len(names):
            raise refuse(node, path, problems, "names two secrets that would appear as one variable")
        return places

    def _map(self) -> MapOf:
        name = Text(pattern=_NAMED, hint="the name of a secret")
        where = "the name of an environment variable, or /run/secrets/ and a name"
        return MapOf(_PLACE, where, name, self.max_items)


@dataclass(frozen=True)
class Within:
    """A value, or a mapping that holds it under the one key ``key``."""

    key: str
    item: ValueType

    def schema(self) -> Schema:
        held = self.item.schema()
        mapping = {
            "type": "object",
            "properties": {self.key: held},
            "required": [self.key],
            "additionalProperties": False,
        }
        return {"anyOf": [held, mapping]}

    def read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node.value, dict):
            return self.item.read(node, path, problems)
        if list(node.value) != [self.key]:
            raise refuse(node, path, problems, f"must have the one key {self.key}")
        return self.item.read(node.value[self.key], f"{path}.{self.key}", problems)


_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class DurationMs:
    """A time span read as milliseconds: a number of seconds, or text as ``500ms``, ``90s``, ``2m``, ``1h``, ``7d``."""

    low: int
    high: int

    def schema(self) -> Schema:
        seconds = {"type": "number", "minimum": self.low / 1000, "maximum": self.high / 1000}
        return {"anyOf": [seconds, {"type": "string", "pattern": "^[0-9]{1,12}(?:ms|s|m|h|d)$"}]}

    def read(self, node: Node, path: str, problems: Problems) -> int:
        span = self._milliseconds(node.value)
        if span is None:
            message = "must be seconds, or text such as 500ms, 90s, 2m, 1h"
            raise refuse(node, path, problems, message)
        if not self.low <= span <= self.high:
            raise refuse(node, path, problems, f"must be from {show_ms(self.low)} to {show_ms(self.high)}")
        return int(span)

    def _milliseconds(self, value: object) -> Decimal | int | None:
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,12})(ms|s|m|h|d)", value)
            return int(match[1]) * _UNITS[match[2]] if match else None
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return value * 1000
        return None


def show_ms(milliseconds: int) -> str:
    """The shortest text DurationMs reads back as the same span."""
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % _UNITS[unit] == 0:
            return f"{milliseconds // _UNITS[unit]}{unit}"
    return f"{milliseconds}ms"


@dataclass(frozen=True)
class Dollars:
    """US dollars read as whole micro-dollars (what is finer is cut off); at least one micro-dollar."""

    high: int

    def schema(self) -> Schema:
        return {"type": "number", "minimum": 0.000001, "maximum": self.high}

    def read(self, node: Node, path: str, problems: Problems) -> int:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, Decimal)):
            raise refuse(node, path, problems, f"must be a number of US dollars, not {node.kind()}")
        micros = Decimal(node.value) * 1_000_000
        if not 1 <= micros <= self.high * 1_000_000:
            raise refuse(node, path, problems, f"must be from 0.000001 to {self.high} US dollars")
        return int(micros)
