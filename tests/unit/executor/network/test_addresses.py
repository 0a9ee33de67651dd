"""Only public addresses, and what the configuration names."""

from __future__ import annotations

import ipaddress

import pytest

from interlock.executor.sandbox.network.addresses import objection

INWARD = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.51.100.7",
    "203.0.113.9", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::1", "::", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1", "fec0::1",
    "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001:0:1::1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "5f00::1", "3fff::1",
]  # fmt: skip
PUBLIC = [
    "93.184.215.14",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2606:4700::1",
]


@pytest.mark.parametrize("text", INWARD)
def test_addresses_that_are_not_public_are_refused(text: str) -> None:
    assert objection(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_ones_are_not(text: str) -> None:
    assert objection(ipaddress.ip_address(text)) == ""


@pytest.mark.parametrize(
    ("text", "named", "allowed"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("::ffff:127.0.0.1", "127.0.0.0/8", True),
        ("64:ff9b::7f00:1", "127.0.0.0/8", True),
        ("127.0.0.1", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.2.3", "10.1.0.0/16", False),
        ("::1", "127.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
    ],
)
def test_ranges_that_are_named_are_no_obstacle(text: str, named: str, allowed: bool) -> None:
    assert (objection(ipaddress.ip_address(text), [ipaddress.ip_network(named)]) == "") is allowed
