"""The redactor against a plain definition of what it does, over any stream cut in any way."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.executor.secrets.encodings import forms
from interlock.executor.secrets.matching import Patterns
from interlock.executor.secrets.redactor import MOST_BREAKS, Redactor, marker, redact

LETTERS = st.sampled_from(b"abAB01+/= \n\r\"'\\<&%\xc3\xa9")


def run(patterns: Patterns, chunks: Iterable[bytes]) -> bytes:
    redactor = Redactor(patterns)
    return b"".join([*(redactor.feed(chunk) for chunk in chunks), redactor.finish()])


def defined(values: dict[str, bytes], text: bytes) -> bytes:
    """The definition, one byte at a time: every occurrence of every form, those that share bytes as one."""
    found: list[tuple[int, int, str]] = []
    gap = rb"[\r\n]{0,%d}" % MOST_BREAKS
    for name in sorted(values):
        for form in forms(values[name]):
            expression = re.compile(
                gap.join(re.escape(form[at : at + 1]) for at in range(len(form))), re.DOTALL
            )
            at = 0
            while (match := expression.search(text, at)) is not None:
                found.append((match.start(), match.end(), name))
                at = match.start() + 1
    result, done, last = b"", 0, 0
    for start, end, name in sorted(found, key=lambda each: (each[0], -each[1], each[2])):
        if start >= last:
            result += text[done:start] + marker(name)
        done = last = max(last, end)
    return result + text[done:]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def utf8(raw: list[int]) -> bytes:
    return bytes(raw).decode("utf-8", "ignore").encode()


VALUE = (
    st.lists(LETTERS, min_size=8, max_size=14)
    .map(utf8)
    .filter(
        lambda value: (
            len(value.strip().translate(None, b"\r\n")) >= 8
            and not re.search(rb"[\r\n]{%d}" % (MOST_BREAKS + 1), value)
        )
    )
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, bytes], bytes, list[int]]:
    """Values, and a text made of noise, of their forms, and of parts of them, wrapped or not."""
    values = {name: draw(VALUE) for name in draw(st.sampled_from([["one"], ["one", "two"]]))}
    known = sorted(form for value in values.values() for form in forms(value))
    parts: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        piece = draw(st.one_of(st.lists(LETTERS, max_size=5).map(bytes), st.sampled_from(known)))
        begin, end = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        piece = piece if draw(st.booleans()) else piece[begin : len(piece) - end]
        if draw(st.booleans()):
            width, breaks = (
                draw(st.integers(1, 5)),
                draw(st.sampled_from([b"\n", b"\r\n", b"\n" * 8, b"\n" * 9])),
            )
            piece = breaks.join(piece[at : at + width] for at in range(0, len(piece), width))
        parts.append(piece)
    return values, b"".join(parts), draw(st.lists(st.integers(0, 10_000), max_size=8))


@settings(max_examples=400, deadline=None)
@given(streams())
@example(({"one": b"abababab"}, b"ababababababab", [9, 11]))
@example(({"one": b"aaaaaaaa"}, b"a" * 40, list(range(40))))
@example(({"one": b"aaaaaaaab", "two": b"aaaaaaaa"}, b"a" * 20 + b"b", [8, 20]))
@example(({"one": b"abcdefgh", "two": b"ghijklmnopq"}, b"abcdefghijklmnopqabcdefghijklmnop", [9, 30]))
def test_any_stream_cut_in_any_way_is_what_the_definition_says(
    case: tuple[dict[str, bytes], bytes, list[int]],
) -> None:
    values, text, places = case
    patterns = Patterns(values)
    wanted = defined(values, text)
    assert redact(patterns, text) == wanted
    assert run(patterns, cut(text, places)) == wanted
    assert run(patterns, [bytes([byte]) for byte in text]) == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.text("abcXYZ012-_/+?&=äß€\"'\\", min_size=8, max_size=40),
    st.binary(max_size=7),
    st.binary(max_size=7),
    st.integers(20, 80),
    st.lists(st.integers(0, 100_000), max_size=6),
)
def test_no_encoding_of_a_value_gets_through(
    value: str, before: bytes, after: bytes, width: int, places: list[int]
) -> None:
    raw = value.encode()
    inside = base64.b64encode(before + raw + after)
    texts = [
        before + raw + after,
        inside,
        base64.urlsafe_b64encode(before + raw + after),
        b"\n".join(inside[at : at + width] for at in range(0, len(inside), width)),
        b"\r\n".join(inside[at : at + width] for at in range(0, len(inside), width)),
        (before + raw + after).hex().encode(),
        (before + raw + after).hex().upper().encode(),
        quote(raw, safe="").encode(),
        quote_plus(raw).encode(),
        json.dumps({"it": value}).encode(),
        json.dumps({"it": value}, ensure_ascii=False).encode(),
        json.dumps(json.dumps(value)).encode(),
        repr(value).encode(),
    ]
    patterns = Patterns({"it": raw})
    for text in texts:
        redactor = Redactor(patterns)
        result = b"".join([*map(redactor.feed, cut(text, places)), redactor.finish()])
        assert redactor.found == {"it"}, text
        assert marker("it") in result
        flat = result.replace(marker("it"), b"\0").translate(None, b"\r\n")
        assert not [form for form in forms(raw) if form in flat], text


def test_what_is_no_secret_is_left_alone_and_at_once() -> None:
    redactor = Redactor(Patterns({"it": b"correct horse battery"}))
    assert redactor.feed(b"building 1 of 9\n") == b"building 1 of 9\n"
    assert redactor.feed(b"correct ") == b""
    assert redactor.feed(b"answer\n") == b"correct answer\n"
    assert redactor.feed(b"the correct horse batt") == b"the "
    assert redactor.feed(b"ery.") == b"[secret:it]."
    assert redactor.feed(b"correct horse") == b""
    assert redactor.finish() == b"correct horse"
    assert redactor.found == {"it"}


def test_what_is_held_back_is_bounded() -> None:
    value = b"z" * 500
    patterns = Patterns({"it": value})
    redactor, longest = Redactor(patterns), 0
    for _ in range(3000):
        redactor.feed(b"z" * 97 + b"\n" * 8)
        longest = max(longest, len(redactor._held))
    assert patterns.longest >= 500
    assert longest <= (MOST_BREAKS + 1) * patterns.longest
    assert redactor.feed(b"." + b"\n" * 1_000_000 + b".").endswith(b"\n" * 1_000_000 + b".")


def test_lines_of_a_key_count_by_themselves_but_not_its_armour() -> None:
    body = base64.b64encode(bytes(range(200))).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    patterns = Patterns({"key": key.encode()})
    assert redact(patterns, key.encode()) == b"[secret:key]"
    assert redact(patterns, key.replace("\n", "\r\n").encode()) == b"[secret:key]"
    indented = redact(patterns, key.replace("\n", "\n    ").encode())
    assert b"-----BEGIN PRIVATE KEY-----" in indented
    assert not [line for line in lines if len(line) >= 16 and line.encode() in indented]


@pytest.mark.parametrize("value", [b"hunter2hunter2", "pässwörd-€".encode(), b"q\"u\\o'te<&>/x"])
def test_forms_are_at_least_eight_bytes_and_have_no_line_breaks(value: bytes) -> None:
    found = forms(value)
    assert value in found
    assert all(len(form) >= 8 and not {10, 13} & set(form) for form in found)
