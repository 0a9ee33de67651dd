"""One spelling for each host; what could be taken for something else is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.executor.sandbox.network.hosts import Host, parse_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.org:443", Host("example.org", 443)),
        ("EXAMPLE.Org:443", Host("example.org", 443)),
        ("xn--bcher-kva.example:80", Host("xn--bcher-kva.example", 80)),
        ("_dmarc.example.org:1", Host("_dmarc.example.org", 1)),
        ("localhost:65535", Host("localhost", 65535)),
        ("127.0.0.1:80", Host("127.0.0.1", 80, address=True)),
        ("[::1]:80", Host("::1", 80, address=True)),
        ("[2001:DB8::0001]:80", Host("2001:db8::1", 80, address=True)),
    ],
)
def test_a_host_has_one_spelling(text: str, host: Host) -> None:
    assert parse_host(text) == host
    assert parse_host(str(host)) == host


TRICKS = [
    "127.1:80", "127.0.1:80", "2130706433:80", "0x7f000001:80", "0x7f.1:80", "0177.0.0.1:80", "127.0.0.01:80",
    "127.0.0.1.:80", "1.2.3.4.5:80", "256.1.1.1:80", "example.0x7f:80", "example.1:80", "example.org.:443",
    "::1:80", "[::1%lo]:80", "[::ffff:127.0.0.1%25eth0]:80", "[::1:80", "[]:80", "[127.0.0.1]:80",
    "user@example.org:443",
    "user:pw@example.org:443", "example.org:443@127.0.0.1:80", "bücher.example:443", "ex\u0430mple.org:443",
    "\u2460.example:80", "example。org:443", "example.org:0", "example.org:65536", "example.org:00443",
    "example.org:+443", "example.org: 443", "example.org:٤٤٣", "example.org:", ":443", "example.org", "",
    "..:1", "a..b:1",
    "-a.example:1", "a-.example:1", "ex ample:1", "a\tb:1", "a\n:1", "a\0b:1", "a/b:1", "a#b:1", "a?b:1", "a%2eb:1",
    "*:443", "*.example.org:443", "*.com:443", "example.org:*", "a" * 64 + ".example:1",
    ".".join(["a" * 60] * 5) + ":1",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKS)
def test_what_another_reader_could_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_host(text)


@pytest.mark.parametrize("text", ["*:443", "*.com:1", "*.1.2.3.4:1", "*.*.org:1", "a.*.org:1", "x.org:*"])
def test_a_step_names_hosts_and_not_everything(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_host(text, pattern=True)


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("example.org:443", "example.org:443", True),
        ("example.org:443", "example.org:80", False),
        ("example.org:443", "a.example.org:443", False),
        ("*.example.org:443", "a.b.example.org:443", True),
        ("*.example.org:443", "example.org:443", False),
        ("*.example.org:443", "badexample.org:443", False),
        ("*.example.org:443", "*.a.example.org:443", True),
        ("*.a.example.org:443", "*.example.org:443", False),
        ("*.example.org:*", "a.example.org:8080", True),
        ("*:443", "anything.test:443", True),
        ("*:*", "*.anything.test:443", True),
        ("*:*", "127.0.0.1:80", False),
        ("*:*", "[::1]:80", False),
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("[::1]:*", "[0:0::1]:80", True),
    ],
)
def test_patterns_cover_what_they_say(pattern: str, host: str, covered: bool) -> None:
    listed = parse_host(pattern, pattern=True, any_host=True)
    assert listed.covers(parse_host(host, pattern=True)) is covered


@given(st.text(max_size=300))
def test_nothing_else_comes_of_any_text(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert 0 < host.port < 65536
    assert host.name == host.name.lower()
    assert parse_host(str(host)) == host
    if not host.address:
        with pytest.raises(ValueError, match=r"\w"):
            ipaddress.ip_address(host.name)
