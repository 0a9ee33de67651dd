"""Path templates of `google.api.http` (its grammar is in google/api/http.proto).

    Template = "/" Segments [ ":" Verb ]      Segments = Segment { "/" Segment }
    Segment  = "*" | "**" | LITERAL | Variable
    Variable = "{" FieldPath [ "=" Segments ] "}"

`*` takes one segment, `**` any number of them at the end. A path is matched as it was sent: an encoded slash in a
segment is part of the value, not a separator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

ONE: Final = "*"
REST: Final = "**"
_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)(?:=([^{}]*))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,;=@-]+")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_VERB = re.compile(r"(.*[^/]):([A-Za-z][A-Za-z0-9_-]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    """A field that takes the segments from `start` to `end` (exclusive; -1 = to the last one)."""

    field: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: literal segments, `*` or `**`, an optional verb, and where the variables are."""

    text: str
    segments: tuple[str, ...]
    verb: str
    variables: tuple[Variable, ...]

    @property
    def shape(self) -> tuple[tuple[str, ...], str]:
        """What it matches, whatever its variables are called: two templates of one shape cannot be told apart."""
        return self.segments, self.verb

    @property
    def weight(self) -> tuple[int, int]:
        """Sorts the more specific of two templates first."""
        return self.segments.count(REST), self.segments.count(ONE)

    def match(self, segments: Sequence[str], verb: str) -> dict[str, str] | None:
        """The variables' values, by field path, when the path (split, still percent-encoded) is one of these."""
        if verb != self.verb or not self._fits(segments):
            return None
        return {each.field: _value(segments, each, self.segments) for each in self.variables}

    def _fits(self, segments: Sequence[str]) -> bool:
        open_ended = bool(self.segments) and self.segments[-1] == REST
        if len(segments) != len(self.segments) and not (
            open_ended and len(segments) >= len(self.segments) - 1
        ):
            return False
        # An empty segment (`//`) is never a value.
        return all(
            mine == REST or (bool(theirs) and mine in (ONE, unquote(theirs)))
            for mine, theirs in zip(self.segments, segments, strict=False)
        )


def parse(text: str) -> Template:
    """Raises ValueError naming the template, when it is not one."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r}: a template starts with '/'")
    body, verb = split_verb(text[1:]) if not text.endswith("}") else (text[1:], "")
    segments: list[str] = []
    variables: list[Variable] = []
    for piece in _pieces(text, body):
        found = _VARIABLE.fullmatch(piece)
        inner = (found[2] or ONE).split("/") if found else [piece]
        for segment in inner:
            if segment not in (ONE, REST) and not _LITERAL.fullmatch(segment):
                raise ValueError(f"{text!r}: {segment!r} is not a segment")
        if found:
            end = -1 if inner[-1] == REST else len(segments) + len(inner)
            variables.append(Variable(found[1], len(segments), end))
        segments.extend(inner)
    if REST in segments[:-1]:
        raise ValueError(f"{text!r}: '**' can only stand at the end")
    return Template(text, tuple(segments), verb, tuple(variables))


def split_verb(path: str) -> tuple[str, str]:
    """A path and its verb, without the colon between them; the verb is empty when there is none."""
    found = _VERB.fullmatch(path)
    return (found[1], found[2]) if found and "/" not in found[2] else (path, "")


def _pieces(text: str, body: str) -> list[str]:
    """Split at slashes that are outside braces."""
    pieces, depth, start = [], 0, 0
    for index, char in enumerate(body):
        depth += (char == "{") - (char == "}")
        if depth not in (0, 1):
            raise ValueError(f"{text!r}: braces do not match")
        if char == "/" and not depth:
            pieces.append(body[start:index])
            start = index + 1
    if depth:
        raise ValueError(f"{text!r}: braces do not match")
    return [*pieces, body[start:]]


def _value(segments: Sequence[str], variable: Variable, mine: Sequence[str]) -> str:
    end = len(segments) if variable.end < 0 else variable.end
    taken = segments[variable.start : end]
    if len(taken) == 1 and mine[variable.start] != REST:
        return unquote(taken[0])
    # In a value of several segments an encoded slash stays encoded, so that it is not one of the separators.
    return "/".join(unquote(_ENCODED_SLASH.sub("%252F", part)) for part in taken)
