"""Which addresses a step's traffic may go to: public ones, and ranges that the executor's configuration names.

Addresses that carry an IPv4 address are judged by that: ::ffff:0:0/96 (mapped), 64:ff9b::/96 (NAT64, RFC 6052).
Registries: IANA IPv4 and IPv6 Special-Purpose Address Registries; `ipaddress` has most of them, the rest is here.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER_PUBLIC: Final[tuple[tuple[Range, str], ...]] = tuple(
    (ipaddress.ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "this host"),
        ("100.64.0.0/10", "a carrier's own range"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where clouds have their metadata service"),
        ("192.0.0.0/24", "reserved"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("198.18.0.0/15", "for benchmarks"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "reserved"),
        ("64:ff9b:1::/48", "a translator's own range"),
        ("100::/64", "discarded"),
        ("2001::/23", "reserved"),
        ("2002::/16", "6to4, which hides another address"),
        ("3fff::/20", "for documentation"),
        ("5f00::/16", "for segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
    )
)


def plain(address: IPAddress) -> IPAddress:
    """The address that is meant: an IPv4 one where an IPv6 one only carries it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def route(address: IPAddress) -> IPAddress:
    """Where a socket is connected to: a translator's address is only reached as that, a mapped one never."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def objection(address: IPAddress, named: Sequence[Range] = ()) -> str:
    """Why nothing may be sent to `address`, in a few words; empty when it may. `named` ranges may always."""
    meant = plain(address)
    if any(meant in each for each in named):
        return ""
    for network, what in _NEVER_PUBLIC:
        if meant in network:
            return what
    if meant.is_loopback:
        return "loopback"
    if meant.is_multicast:
        return "multicast"
    if not meant.is_global:
        return "private or reserved"
    return "an address of this machine" if _own(meant) else ""


def _own(address: IPAddress) -> bool:
    """Whether this machine has the address: a socket can be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True
