"""Secrets in what a step called a host: found whatever their case, their encoding and the dots between."""

from __future__ import annotations

import base64
import random
import string

import pytest

from interlock.executor.secrets.hosts import CUT, HostNames

VALUE = b"Tr0ub4dor-And.3-Horses"
SEEN = HostNames({"horse": VALUE})
ENCODED = {
    "plain": VALUE.decode(),
    "lower": VALUE.decode().lower(),
    "upper": VALUE.decode().upper(),
    "mixed": VALUE.decode().swapcase(),
    "base32": base64.b32encode(VALUE).decode(),
    "base32 without padding": base64.b32encode(VALUE).decode().rstrip("=").lower(),
    "base32hex": base64.b32hexencode(VALUE).decode().rstrip("=").lower(),
    "hexadecimal": VALUE.hex(),
    "base64": base64.b64encode(VALUE).decode().rstrip("=").lower(),
    "base64url": base64.urlsafe_b64encode(VALUE).decode().rstrip("="),
    "percent": "".join(f"%{byte:02x}" for byte in VALUE),
}


@pytest.mark.parametrize("how", ENCODED)
@pytest.mark.parametrize("around", ["{}", "{}.evil.test", "x-{}-y.evil.test", "CONNECT {}:443 HTTP/1.1"])
def test_it_is_found(how: str, around: str) -> None:
    assert SEEN.clean(around.format(ENCODED[how])) == "[secret:horse]"


@pytest.mark.parametrize("how", ENCODED)
@pytest.mark.parametrize("size", [7, 16, 63])
def test_it_is_found_across_the_labels_of_a_name(how: str, size: int) -> None:
    text = ENCODED[how]
    labels = ".".join(text[at : at + size] for at in range(0, len(text), size))
    assert SEEN.clean(f"{labels}.evil.test") == "[secret:horse]"


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(7))
def test_base32_is_found_within_a_longer_text(before: int, after: int) -> None:
    longer = base64.b32encode(b"x" * before + VALUE + b"y" * after).decode().rstrip("=").lower()
    assert SEEN.clean(longer + ".evil.test") == "[secret:horse]"


def test_other_names_are_left_as_they_are() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        name = "".join(rng.choices(string.ascii_letters + string.digits + "-.", k=rng.randrange(1, 150)))
        assert SEEN.clean(name) == name


def test_one_that_was_cut_off_is_found_by_its_beginning() -> None:
    text = ("a" * (CUT - 12) + VALUE.decode())[:CUT]
    assert SEEN.clean(text) == "[secret:horse]"
    assert SEEN.clean(text[:-9]) == text[:-9]


def test_of_several_the_right_one_is_named() -> None:
    both = HostNames({"a": b"first-secret-value", "b": b"second-secret-value"})
    assert both.clean("SECOND-secret-value.test") == "[secret:b]"
    assert both.clean("first-SECRET-value.test") == "[secret:a]"
