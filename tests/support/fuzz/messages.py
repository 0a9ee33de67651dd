"""Random messages made from descriptors, messages mutated field by field, and mutated bytes.

`Known` holds values that mean something to the services (ids, digests, paths, tokens) by the name of the field; a
message with some of them gets past the first check and reaches what is behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import strategies as st

Known = dict[str, list[Any]]
_BITS = {F.CPPTYPE_INT32: (31, True), F.CPPTYPE_INT64: (63, True), F.CPPTYPE_UINT32: (32, False)}
_BITS[F.CPPTYPE_UINT64] = (64, False)

NASTY = [
    "", " ", ".", "..", "/", "../..", "a/../../b", "../../../../../../etc/passwd", "/proc/self/root", "/proc/self/fd/3",
    "/dev/null", "a\0b", "\0", "\n", "\r\n", "\x1b[2J", "\x7f", "a" * 300, "a/" * 2100, "x" * 70_000, "é\u202e\ufeff",
    "\U0010ffff", "%s%n%x", "$(touch /interlock-escaped)", "'; DROP TABLE runs; --", "{}", "null", "-rf", "--help",
    "sha256:" + "0" * 64, "sha256:" + "A" * 64, "step-1", "run-", "ws-", "\\udc80", "\u2028", "con", "file:///etc/passwd",
]  # fmt: skip

wild_text = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.text(alphabet="./ab\0\n-~é", max_size=12),
)
wild_bytes = st.one_of(st.binary(max_size=80), st.sampled_from([b"", b"\0" * 16, b"\xff" * 64, b"k" * 65]))


def _integers(kind: int) -> st.SearchStrategy[int]:
    bits, signed = _BITS[kind]
    low, high = (-(2**bits) if signed else 0), 2**bits - 1
    edges = [0, 1, 2, 3, 100, 1000, 1001, high, high - 1, low, 2**31 - 1, 2**30]
    return st.one_of(st.integers(0, 5), st.sampled_from(edges), st.integers(low, high)).map(
        lambda n: min(high, max(low, n))
    )


def scalar(field: Any, known: Known) -> st.SearchStrategy[Any]:
    """A value for one field, once: known, plausible or absurd."""
    kind = field.cpp_type
    if kind == F.CPPTYPE_STRING:
        wild = wild_bytes if field.type == F.TYPE_BYTES else wild_text
        meant = [v for v in known.get(field.name, []) if isinstance(v, bytes if wild is wild_bytes else str)]
        return st.one_of(*[st.sampled_from(meant)] * 3, wild) if meant else wild
    if kind == F.CPPTYPE_BOOL:
        return st.booleans()
    if kind == F.CPPTYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values]
        return st.sampled_from([*numbers, *numbers, 99, -1, 2**31 - 1])
    if kind in (F.CPPTYPE_DOUBLE, F.CPPTYPE_FLOAT):
        return st.floats(width=32)
    return _integers(kind)


class Maker:
    """Draws messages. `draw` is hypothesis's."""

    def __init__(self, draw: Callable[[Any], Any], known: Known) -> None:
        self._draw, self._known = draw, known

    def fill(self, message: Any, depth: int = 0) -> Any:
        """Sets some of the message's fields."""
        for field in message.DESCRIPTOR.fields:
            rule = field.containing_oneof
            if (
                rule is not None
                and message.WhichOneof(rule.name) is not None
                and self._draw(st.integers(0, 3))
            ):
                continue
            if self._draw(st.integers(0, 9)) < (7 if depth < 2 else 5) and depth < 6:
                self.set(message, field, depth)
        return message

    def set(self, message: Any, field: Any, depth: int = 0) -> None:
        """Gives one field a value, or several where it takes several."""
        if not field.is_repeated:
            if field.message_type is not None:
                getattr(message, field.name).SetInParent()
                self._part(getattr(message, field.name), depth)
            else:
                setattr(message, field.name, self._draw(scalar(field, self._known)))
            return
        count = self._draw(st.sampled_from([0, 1, 1, 2, 3]))
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        target = getattr(message, field.name)
        for _ in range(count):
            if entry:
                self._entry(target, field.message_type, depth)
            elif field.message_type is not None:
                self._part(target.add(), depth)
            else:
                target.append(self._draw(scalar(field, self._known)))
        if count and not entry and not self._draw(st.integers(0, 40)):
            size = target[0].ByteSize() if field.message_type is not None else len(repr(target[0]))
            target.extend([target[0]] * (10_001 if size < 400 else 1_001 if size < 4000 else 3))

    def _part(self, part: Any, depth: int) -> None:
        whole = self._known.get(part.DESCRIPTOR.full_name)
        if whole and self._draw(st.integers(0, 2)):
            part.CopyFrom(self._draw(st.sampled_from(whole)))
            return
        self.fill(part, depth + 1)

    def _entry(self, target: Any, kind: Any, depth: int) -> None:
        key = self._draw(scalar(kind.fields_by_name["key"], self._known))
        value = kind.fields_by_name["value"]
        if value.message_type is not None:
            self.fill(target[key], depth + 1)
        else:
            target[key] = self._draw(scalar(value, self._known))

    def mutate(self, message: Any, flips: int) -> Any:
        """Changes that many fields, anywhere in the message."""
        for _ in range(flips):
            part = self._somewhere(message)
            fields = list(part.DESCRIPTOR.fields)
            if not fields:
                continue
            field = self._draw(st.sampled_from(fields))
            if self._draw(st.integers(0, 3)) == 0:
                part.ClearField(field.name)
            else:
                self.set(part, field, 2)
        return message

    def _somewhere(self, message: Any) -> Any:
        parts = [message]
        for part in parts:
            for field, value in part.ListFields():
                if field.message_type is None or field.message_type.GetOptions().map_entry:
                    continue
                parts.extend(list(value)[:3] if field.is_repeated else [value])
        return self._draw(st.sampled_from(parts[:60]))


@st.composite
def random_message(draw: Any, kind: Any, known: Known) -> Any:
    """A message of this class from nothing."""
    return Maker(draw, known).fill(kind())


@st.composite
def mutated_message(draw: Any, seeds: list[Any], known: Known) -> Any:
    """One of the messages with up to three fields changed."""
    copy = type(seeds[0])()
    copy.CopyFrom(draw(st.sampled_from(seeds)))
    return Maker(draw, known).mutate(copy, draw(st.sampled_from([0, 1, 1, 2, 3])))


def varint(number: int) -> bytes:
    """A base-128 varint."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


_TAILS = [
    b"\xff", b"\x80" * 11, varint(19 << 3 | 2) + varint(2**31), varint(1 << 3 | 3), varint(1 << 3 | 4),
    varint(1 << 3 | 3) * 150 + varint(1 << 3 | 4) * 150, varint(2**29 - 1 << 3 | 2) + b"\x03abc", b"\x00", b"\x07",
    varint(1 << 3 | 2) + varint(4) + b"\xed\xa0\x80\x41", varint(2 << 3 | 2) + b"\x02\xc3\x28", b"\x0a\x00" * 50_000,
    varint(15 << 3 | 0) + b"\xff" * 9 + b"\x01",
]  # fmt: skip


@st.composite
def mutated_bytes(draw: Any, raw: bytes) -> bytes:
    """The bytes with bits flipped, cut, doubled, or followed by what no encoder writes."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        how = draw(st.integers(0, 5))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if how == 0 and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == 3:
            data += draw(st.sampled_from(_TAILS))
        elif how == 4:
            data += data[at : at + 4000]
        elif data:
            data[at] = draw(st.integers(0, 255))
    return bytes(data)


def nested(tag: int, depth: int) -> bytes:
    """A message within itself, that deep: field `tag` all the way down."""
    inner = b""
    for _ in range(depth):
        inner = varint(tag << 3 | 2) + varint(len(inner)) + inner
    return inner


def one_field_odd(message: Any, values: list[str]) -> Iterator[Any]:
    """The message with one text, key or list item replaced, for each text there could be in it and each value."""
    for where, field in _texts(message):
        for value in values:
            copy = type(message)()
            copy.CopyFrom(message)
            part = copy
            for name, index in where:
                part = getattr(part, name) if index is None else getattr(part, name)[index]
            if field.message_type is not None:
                kinds = field.message_type.fields_by_name
                if kinds["key"].type != F.TYPE_STRING or kinds["value"].type != F.TYPE_STRING:
                    continue
                getattr(part, field.name)[value] = "v"
                getattr(part, field.name)["k"] = value
            elif field.is_repeated:
                getattr(part, field.name).append(value)
            else:
                setattr(part, field.name, value)
            yield copy


def _texts(message: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for field in message.DESCRIPTOR.fields:
        if field.type == F.TYPE_STRING or (field.message_type and field.message_type.GetOptions().map_entry):
            yield where, field
        elif field.message_type is not None:
            present = getattr(message, field.name)
            if field.is_repeated:
                if len(present):
                    yield from _texts(present[0], (*where, (field.name, 0)))
            elif message.HasField(field.name):
                yield from _texts(present, (*where, (field.name, None)))
