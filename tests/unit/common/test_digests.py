from __future__ import annotations

import hashlib
import json
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.common.digests import (
    MAX_DEPTH,
    SAFE_INTEGER,
    canonical_json,
    digest_bytes,
    digest_json,
    digest_text,
    is_digest,
    sha256_text,
)
from interlock.common.errors import InterlockError, Reason

# Characters where code point order and UTF-16 order disagree must come up often.
_TRICKY = st.sampled_from(
    ["\ue000", "\uffff", "\U00010000", "\U0010ffff", "\u2028", "\x7f", "\x00", '"', "\\", "é"]
)
_TEXT = st.text(st.one_of(_TRICKY, st.characters(exclude_categories=["Cs"])), max_size=6)
_SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-SAFE_INTEGER, SAFE_INTEGER), _TEXT)
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(_TEXT, inner, max_size=6)),
    max_leaves=30,
)


@given(_VALUE)
@example({"\ue000": 1, "\U00010000": 2})
@example({"a": {"\uffff": [], "\U0010ffff": {"\U00010001": 0, "\ufb33": 0}}})
@example({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7})
def test_equal_to_the_reference_implementation(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(_VALUE)
def test_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


def test_key_order_example_of_the_rfc() -> None:
    # RFC 8785, section 3.2.3.
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    keys = list(json.loads(canonical_json(value)))
    assert keys == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_tuples_and_enums_are_written_as_what_they_hold() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        LOW = 1

    assert canonical_json({"c": Colour.RED, "l": (Level.LOW, True)}) == b'{"c":"red","l":[1,true]}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        [0.5],
        {"a": {"b": 1e300}},
        {1: "a"},
        {None: 1},
        {b"a": 1},
        SAFE_INTEGER + 1,
        -SAFE_INTEGER - 1,
        [10**400],
        "\ud800",
        {"\udfff": 1},
        {"\ud83d\ude00": "\udc00"},
        b"bytes",
        {1, 2},
        Exception,
        [frozenset()],
    ],
    ids=ascii,
)
def test_refuses_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(InterlockError) as caught:
        canonical_json(value)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert str(caught.value).startswith("Cannot write canonical JSON")


def test_depth_is_bounded_and_cycles_end() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert canonical_json(deep) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    with pytest.raises(InterlockError, match="nested deeper"):
        canonical_json([deep])
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    with pytest.raises(InterlockError, match="nested deeper"):
        canonical_json(cycle)


@given(st.binary(max_size=64))
def test_digest_texts(data: bytes) -> None:
    text = sha256_text(data)
    assert text == "sha256:" + hashlib.sha256(data).hexdigest()
    assert is_digest(text)
    assert digest_text(digest_bytes(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha512:" + "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256:" + "g" * 64,
        "x" * 100000,
    ],
)
def test_other_texts_are_no_digests(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(InterlockError) as caught:
        digest_bytes(text, field="decision.digest")
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "decision.digest"
    assert len(str(caught.value)) < 300


def test_raw_digests_have_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        digest_text(b"short")


def test_digest_json_is_what_its_documentation_says() -> None:
    value = {"b": 1, "a": [True, None]}
    expected = hashlib.sha256(b'interlock.effect.v1\n{"a":[true,null],"b":1}').hexdigest()
    assert digest_json(value, "interlock.effect.v1") == f"sha256:{expected}"


@given(_VALUE)
def test_domains_keep_digests_apart(value: Any) -> None:
    assert digest_json(value, "one") != digest_json(value, "two")


def test_a_domain_cannot_reach_into_the_value() -> None:
    with pytest.raises(ValueError, match="newline"):
        digest_json({}, "a\nb")
