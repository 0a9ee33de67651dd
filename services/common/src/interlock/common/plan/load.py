"""Bytes → nodes. YAML by events (no aliases, anchors or tags, duplicate keys refused), JSON by the standard parser.

Plain YAML scalars follow the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema) in its decimal
forms only, so ``no``, ``on``, ``1:30`` and ``0x10`` stay text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import yaml

from interlock.common.plan.limits import MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_NODES
from interlock.common.plan.nodes import Node, bounded_decimal, bounded_int, checked_text, node_of
from interlock.common.plan.problems import DocumentError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


def load(document: bytes | str) -> Node:
    """Parse a document. A text that starts with ``{`` is read as JSON first, otherwise as YAML.

    Raises DocumentError for anything that is not one well-formed, bounded document.
    """
    text = _decode(document)
    if not text.lstrip().startswith("{"):
        return load_yaml(text)
    try:
        return load_json(text)
    except _NotJson as json_error:
        if re.match(r'\s*{\s*"', text):
            raise  # meant as JSON: its parser knows best where it breaks
        try:
            return load_yaml(text)  # a YAML flow mapping also starts with a brace
        except DocumentError as yaml_error:
            raise yaml_error from json_error


class _NotJson(DocumentError):
    """The text is not JSON by its syntax."""


def _decode(document: bytes | str) -> str:
    raw = _encode(document) if isinstance(document, str) else document
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentError(
            f"the document has {len(raw):,} bytes; a plan may have {MAX_DOCUMENT_BYTES:,}",
            fix="Split the plan, or put large contents into files of the workspace.",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError("the document is not UTF-8 text", line=line, column=1) from None


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise DocumentError("the document contains a lone surrogate, which is not valid Unicode") from None


def load_json(text: str) -> Node:
    """Parse strict JSON; duplicate keys and NaN are refused, numbers are exact."""
    try:
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=bounded_int,
            parse_float=bounded_decimal,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise _NotJson(f"not JSON: {error.msg}", line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise DocumentError(f"nested more than {MAX_DEPTH} levels deep") from None
    return node_of(data)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key, value in pairs:
        if key in seen:
            raise DocumentError(f"the key {key[:80]!r} is given twice", fix="Keep one of them.")
        seen[key] = value
    return seen


def _no_constant(name: str) -> object:
    raise DocumentError(f"{name} is not JSON")


def load_yaml(text: str) -> Node:
    """Parse one YAML document by its events, so that depth and size are bounded before anything is built."""
    try:
        return _Builder(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise DocumentError(f"not YAML: {error.problem or error.context}", line=line, column=column) from None
    except yaml.reader.ReaderError as error:
        raise DocumentError(f"not YAML: {error.reason}") from None


class _Builder:
    """Builds nodes from a stream of YAML events; its recursion is bounded by MAX_DEPTH."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._count = 0

    def document(self) -> Node:
        """The one document of the stream."""
        node: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and node is not None:
                raise _at(event, "the file holds more than one document", "Keep one document per file.")
            if isinstance(event, yaml.NodeEvent):
                node = self._node(event, 0)
        if node is None:
            raise DocumentError("the document is empty", fix="A plan needs a goal and steps.")
        return node

    def _node(self, event: Any, depth: int) -> Node:
        self._check(event, depth)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            return Node(_scalar(event), line, column)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self._items(depth + 1), line, column)
        return Node(self._entries(depth + 1), line, column)

    def _check(self, event: Any, depth: int) -> None:
        self._count += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _at(event, "anchors and aliases are not allowed in a plan", "Write the value out in full.")
        if event.tag is not None and event.tag != "!":
            raise _at(event, "tags are not allowed in a plan", "Remove the tag.")
        if depth > MAX_DEPTH:
            raise _at(event, f"nested more than {MAX_DEPTH} levels deep")
        if self._count > MAX_NODES:
            raise _at(event, f"more than {MAX_NODES:,} values")

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, depth))
        return items

    def _entries(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            self._check(event, depth)
            key = _key(event)
            if key in entries:
                raise _at(event, f"the key {key[:80]!r} is given twice", "Keep one of them.")
            entries[key] = self._node(next(self._events), depth)
        return entries


def _key(event: Any) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise _at(event, "a key must be text")
    value = _scalar(event)
    if not isinstance(value, str):
        raise _at(event, f"the key {event.value[:40]!r} is not text", "Put the key in quotes.")
    if value == "<<" and event.implicit[0]:
        raise _at(event, "merge keys are not allowed in a plan", "Write the values out in full.")
    return value


def _scalar(event: Any) -> str | int | Decimal | bool | None:
    try:
        text = checked_text(str(event.value))
        return plain_scalar(text) if event.implicit[0] else text
    except DocumentError as error:
        raise _at(event, str(error)) from None


def plain_scalar(text: str) -> str | int | Decimal | bool | None:
    """What an unquoted scalar means in a plan (also used to decide what must be quoted when dumping)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return bounded_int(text)
    if _FLOAT.match(text):
        return bounded_decimal(text)
    return text


def _at(event: Any, message: str, fix: str = "") -> DocumentError:
    mark = event.start_mark
    return DocumentError(message, fix=fix, line=mark.line + 1, column=mark.column + 1)
