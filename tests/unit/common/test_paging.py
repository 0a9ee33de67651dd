from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common import paging
from interlock.common.errors import InterlockError, Reason

_PAYLOAD = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text("abcé", max_size=10)),
    max_size=4,
)


@given(_PAYLOAD, st.text(max_size=20))
def test_round_trip(payload: dict[str, Any], scope: str) -> None:
    assert paging.decode_page_token(scope, paging.encode_page_token(scope, payload)) == payload
    assert paging.decode_cursor(scope, paging.encode_cursor(scope, payload)) == payload


def test_tokens_are_plain_url_text() -> None:
    token = paging.encode_page_token("ListRuns", {"after": "run-1", "n": 7})
    assert token == token.strip("=")
    assert all(char.isalnum() or char in "-_" for char in token)


TOKEN = paging.encode_page_token("ListRuns?state=RUNNING", {"after": "run-1"})


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "not base64!",
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN[:-2] + "AA",
        "é" * 8,
        "A" * 10000,
        TOKEN + "\n",
        base64.urlsafe_b64encode(b"\x02" + base64.urlsafe_b64decode(TOKEN + "==")[1:]).decode().rstrip("="),
    ],
)
def test_damaged_page_token(token: str) -> None:
    with pytest.raises(InterlockError) as caught:
        paging.decode_page_token("ListRuns?state=RUNNING", token)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID
    assert caught.value.field == "page_token"


def test_every_changed_character_is_noticed() -> None:
    for index in range(len(TOKEN) - 1):
        other = "A" if TOKEN[index] != "A" else "B"
        with pytest.raises(InterlockError):
            paging.decode_page_token("ListRuns?state=RUNNING", TOKEN[:index] + other + TOKEN[index + 1 :])


def test_other_filters_other_list_other_kind() -> None:
    with pytest.raises(InterlockError) as caught:
        paging.decode_page_token("ListRuns?state=FAILED", TOKEN)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID
    with pytest.raises(InterlockError) as caught:
        paging.decode_cursor("ListRuns?state=RUNNING", TOKEN)
    assert caught.value.reason is Reason.CURSOR_INVALID
    assert caught.value.field == "cursor"


def test_keyed_tokens_need_their_key() -> None:
    token = paging.encode_cursor("WatchRun", {"seq": 1}, key=b"one")
    assert paging.decode_cursor("WatchRun", token, key=b"one") == {"seq": 1}
    for key in (b"", b"two"):
        with pytest.raises(InterlockError):
            paging.decode_cursor("WatchRun", token, key=key)


def test_oversized_payload_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="too large"):
        paging.encode_cursor("x", {"a": "y" * 1000})


@given(st.text(max_size=60))
def test_any_text_is_a_typed_error(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        paging.decode_cursor("scope", text)
    assert caught.value.reason is Reason.CURSOR_INVALID


@pytest.mark.parametrize(("requested", "size"), [(0, 50), (1, 1), (500, 500), (501, 500)])
def test_page_size(requested: int, size: int) -> None:
    assert paging.page_size(requested) == size


def test_negative_page_size() -> None:
    with pytest.raises(InterlockError) as caught:
        paging.page_size(-1)
    assert caught.value.field == "page_size"


WRONG_TEXTS = [None, 1, True, 0.5, [], {}, "\0", "\ud800", "x" * 513]
WRONG_NUMBERS = [None, "1", True, 1.0, [], {}, -1, 2**53, float("nan")]


@pytest.mark.parametrize("value", WRONG_TEXTS)
def test_contents_that_are_no_text(value: object) -> None:
    contents = paging.Contents({"a": value}, InterlockError(Reason.CURSOR_INVALID, "no"))
    with pytest.raises(InterlockError) as told:
        contents.text("a")
    assert told.value.reason is Reason.CURSOR_INVALID


@pytest.mark.parametrize("value", WRONG_NUMBERS)
def test_contents_that_are_no_number(value: object) -> None:
    contents = paging.Contents({"a": value}, InterlockError(Reason.PAGE_TOKEN_INVALID, "no"))
    with pytest.raises(InterlockError) as told:
        contents.integer("a")
    assert told.value.reason is Reason.PAGE_TOKEN_INVALID


def test_contents_that_are_right() -> None:
    contents = paging.Contents({"a": "é", "n": 2**53 - 1}, InterlockError(Reason.CURSOR_INVALID, "no"))
    assert (contents.text("a"), contents.text("b", default="x"), contents.integer("n")) == (
        "é",
        "x",
        2**53 - 1,
    )


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"", b"{", b"\xff", b"[" * 700])
def test_a_body_that_is_no_object(body: bytes) -> None:
    check = paging._check(b"page", "ListRuns", body, b"")
    token = base64.urlsafe_b64encode(b"\x01" + check + body).rstrip(b"=").decode()
    with pytest.raises(InterlockError) as told:
        paging.decode_page_token("ListRuns", token)
    assert told.value.reason is Reason.PAGE_TOKEN_INVALID
