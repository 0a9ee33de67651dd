"""Documents as trees of nodes that remember where they stood, from YAML, JSON or plain Python data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from interlock.common.plan.limits import MAX_DEPTH, MAX_NUMBER_CHARS
from interlock.common.plan.problems import DocumentError


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its 1-based position (0 when unknown). Lists and mappings hold nodes."""

    value: str | int | Decimal | bool | list[Node] | dict[str, Node] | None
    line: int = 0
    column: int = 0

    def kind(self) -> str:
        """The name of the value's type as a person would say it."""
        for types, name in _KINDS:
            if isinstance(self.value, types):
                return name
        return "nothing"


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "text"),
    (bool, "a boolean"),
    (int, "a whole number"),
    (Decimal, "a number"),
    (list, "a list"),
    (dict, "a mapping"),
)


def bounded_int(text: str) -> int:
    """Python int of decimal digits; numbers longer than any plan needs are refused."""
    if len(text) > MAX_NUMBER_CHARS:
        raise DocumentError(f"a number has {len(text)} digits; at most {MAX_NUMBER_CHARS} are read")
    return int(text)


def bounded_decimal(text: str) -> Decimal:
    """Exact decimal of a number's text, with its exponent kept small enough to compute with."""
    number = Decimal(text) if len(text) <= MAX_NUMBER_CHARS else Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > MAX_NUMBER_CHARS:
        raise DocumentError(f"the number {text[:40]} is out of range")
    return number


def node_of(data: object, depth: int = 0) -> Node:
    """Wrap plain data (as a model's parsed reply). Raises DocumentError for what a plan cannot hold."""
    if depth > MAX_DEPTH:
        raise DocumentError(f"nested more than {MAX_DEPTH} levels deep")
    if data is None or isinstance(data, (bool, Decimal)):
        return Node(data)
    if isinstance(data, int):
        return Node(bounded_int(str(data)) if data.bit_length() < 1024 else bounded_int("9" * 99))
    if isinstance(data, str):
        return Node(checked_text(data))
    if isinstance(data, float):
        return Node(bounded_decimal(repr(data)))
    if isinstance(data, Mapping):
        return Node({checked_key(key): node_of(value, depth + 1) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (bytes, bytearray)):
        return Node([node_of(value, depth + 1) for value in data])
    raise DocumentError(f"a plan cannot hold a {type(data).__name__}")


def checked_key(key: object) -> str:
    """A mapping key as text, or DocumentError."""
    if not isinstance(key, str):
        raise DocumentError(f"the key {str(key)[:40]!r} is not text", fix="Put the key in quotes.")
    return checked_text(key)


def checked_text(text: str) -> str:
    """Text without NUL that can be encoded as UTF-8 (escapes can spell lone surrogates), or DocumentError."""
    if "\0" in text:
        raise DocumentError("text contains a NUL character, which no path, command or database can hold")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DocumentError("text contains a lone surrogate, which is not valid Unicode") from None
    return text
