from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.addresses import Address, parse_address
from interlock.common.errors import InterlockError, Reason


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7401", Address("127.0.0.1", 7401)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("orchestrator:7401", Address("orchestrator", 7401)),
        ("unix:/run/interlock.sock", Address(path="/run/interlock.sock")),
    ],
)
def test_reads_and_writes(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


def test_unix_url_form_is_read_too() -> None:
    assert parse_address("unix:///tmp/a.sock") == Address(path="/tmp/a.sock")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":7401",
        "7401",
        "host",
        "host:",
        "host:http",
        "host:65536",
        "host:-1",
        "host:+1",
        "::1:7401",
        "a b:1",
        "http://host:1",
        "host:١",
        "unix:",
        "unix:relative",
        "unix:/" + "x" * 107,
        "unix:/a\x00b",
    ],
)
def test_refuses_and_names_the_field(text: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse_address(text, field="INTERLOCK_EXECUTOR_ADDRESS")
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "INTERLOCK_EXECUTOR_ADDRESS"
    assert "unix:" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/a", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.1:1", False),
        ("example.org:1", False),
    ],
)
def test_knows_what_only_this_machine_can_reach(text: str, local: bool) -> None:
    assert parse_address(text).is_local is local


def test_bound_port() -> None:
    assert Address("127.0.0.1", 0).with_port(1234) == Address("127.0.0.1", 1234)
    assert Address(path="/a").with_port(1) == Address(path="/a")


@given(st.text(max_size=40))
def test_any_text_is_either_an_address_or_a_typed_error(text: str) -> None:
    try:
        address = parse_address(text)
    except InterlockError:
        return
    assert parse_address(str(address)) == address
