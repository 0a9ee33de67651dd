"""What a proxy tells is taken for what it may be and no more: its process reads what hostile programs send."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from interlock.executor.sandbox.network.rules import Attempt, Bounds, Rules, decode_attempt


def test_what_was_encoded_is_decoded() -> None:
    attempt = Attempt("h.test", 443, True, "", "", "192.0.2.1", 5, 6, 1_790_000_000_000_000, 8)
    assert decode_attempt(json.loads(attempt.encode())["attempt"]) == attempt
    rules = Rules(("h.test:1", "*.h.test:2"), ("10.0.0.0/8",), (("h.test", "10.0.0.1"),), Bounds(attempts=3))
    assert Rules.decode(rules.encode()) == rules


def test_texts_are_bounded_printable_ascii() -> None:
    told = asdict(Attempt("a\x1b[2J\n\0\ud800é" + "x" * 9999, 1))
    found = decode_attempt({**told, "reason": "r" * 999, "detail": "\r\n" * 999, "address": "\x07" * 99})
    for text, most in ((found.host, 300), (found.reason, 40), (found.detail, 300), (found.address, 64)):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= most
    assert found.host.startswith("a\\x1b[2J\\n\\x00\\ud800\\xe9xxx")


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1}, {"port": 65536}, {"port": True}, {"port": "1"}, {"port": 1.5}, {"allowed": 1},
        {"sent": -1}, {"sent": 1 << 63}, {"received": 1e308}, {"at_us": "0"}, {"took_us": None}, {"more": 1},
    ],
)  # fmt: skip
def test_numbers_out_of_bounds_are_none(wrong: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode_attempt({**asdict(Attempt("h.test", 1)), **wrong})
