"""Where a delivery may go."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.webhooks import addresses
from interlock.orchestrator.webhooks.addresses import Refused, check, networks, parse, resolve

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_public_is_refused_however_it_is_written(text: str) -> None:
    with pytest.raises(Refused):
        check(parse("https://example.org/"), ip_address(text), ())
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(InterlockError) as caught:
        addresses.check_literal(parse(f"https://{host}/"), ())
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "url")


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_what_is_public_is_sent_to_over_https_only(text: str) -> None:
    check(parse("https://example.org/"), ip_address(text), ())
    with pytest.raises(Refused):
        check(parse("http://example.org/"), ip_address(text), ())


def test_what_the_settings_name_is_allowed_and_nothing_beside_it() -> None:
    allowed = networks(["10.1.0.0/16", " 127.0.0.1 ", ""])
    for text in ("10.1.255.1", "127.0.0.1", "::ffff:10.1.0.1"):
        check(parse("http://example.org/"), ip_address(text), allowed)
    for text in ("10.2.0.1", "127.0.0.2", "::1"):
        with pytest.raises(Refused):
            check(parse("https://example.org/"), ip_address(text), allowed)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "https://", "https://a:b@example.org/", "https://example.org/#x",
        "https://example.org/a b", "https://example.org/\r\nx: y", "https://example.org:99999/", "https://[::1",
        "https://example.org/ü", "https://" + "a" * 64 + ".org/",
    ],
)  # fmt: skip
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(InterlockError) as caught:
        parse(url)
    assert caught.value.field == "url"


def test_what_a_url_says() -> None:
    target = parse("https://Bücher.example:8443/a?b=c")
    assert (target.secure, target.host, target.port, target.path) == (
        True,
        "xn--bcher-kva.example",
        8443,
        "/a?b=c",
    )
    assert target.authority == "xn--bcher-kva.example:8443"
    assert parse("https://[2001:db8::1]").authority == "[2001:db8::1]"


async def test_a_name_that_means_this_machine_is_refused_when_it_is_resolved() -> None:
    with pytest.raises(Refused):
        await resolve(parse("https://localhost/"), ())
    allowed = networks(["127.0.0.0/8", "::1"])
    assert await resolve(parse("http://localhost/"), allowed) in ("127.0.0.1", "::1")


def test_a_setting_that_is_no_network() -> None:
    with pytest.raises(InterlockError) as caught:
        networks(["10.0.0.1/8"])
    assert caught.value.field == "INTERLOCK_WEBHOOK_ALLOW"
