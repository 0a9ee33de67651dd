"""Keys that a server sends back are taken out of what it says, whole or in pieces."""

from __future__ import annotations

import json

import pytest

from interlock.planner.gateways.base import ModelError
from interlock.planner.gateways.planted import Keys
from interlock.planner.gateways.streamed import Joiner

KEY = "planted/4f2a-9c1e"


@pytest.mark.parametrize(
    "echo",
    ['a/4f2a+"<b', 'a\\/4f2a+\\"<b', 'a\\\\/4f2a+\\\\"<b', 'a\\u002f4f2a\\u002B\\"\\u003cb', 'A/4F2A+"<B'],
)
def test_a_key_is_taken_out_of_a_reply_however_it_is_escaped(echo: str) -> None:
    keys = Keys(['a/4f2a+"<b', "short", ""])
    assert keys.out_of(f"you sent {echo}, short".encode()) == b"you sent ***, short"
    assert Keys([]).out_of(b"as it is") == b"as it is"


class Ears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_key_in_pieces_is_not_told_to_listeners(size: int) -> None:
    text = f"You sent {KEY}, which I {KEY[:5]} not keep: {KEY}{KEY}; pl"
    ears = Ears()
    live = Keys([KEY, "planted/other-key"]).live(ears)
    for at in range(0, len(text), size):
        live.add(text[at : at + size])
    live.flush()
    assert "".join(ears.said) == text.replace(KEY, "***")


def test_only_what_may_become_a_key_waits() -> None:
    ears = Ears()
    live = Keys([KEY]).live(ears)
    for piece in ("one ", "two pl", "an", "et"):
        live.add(piece)
    assert ears.said == ["one ", "two ", "planet"]


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def test_a_streamed_reply_is_kept_without_it() -> None:
    keys = Keys([KEY])
    joiner = Joiner(keys.live(Ears()), keys)
    for part in (KEY[:4], KEY[4:]):
        joiner.feed(event(choices=[{"delta": {"content": part}}]))
    joiner.feed(b"data: [DONE]\n\n")
    whole = joiner.whole()
    assert KEY.encode() not in whole
    assert json.loads(whole)["choices"][0]["message"]["content"] == "***"


def test_an_error_in_the_stream_is_said_without_it_also_where_it_is_cut() -> None:
    joiner = Joiner(Ears(), Keys([KEY]))
    joiner.feed(event(error={"message": "x" * 292 + KEY}))
    with pytest.raises(ModelError) as caught:
        joiner.whole()
    assert KEY[:4] not in str(caught.value)
