"""Looking names up, for the proxy: the step itself cannot."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Mapping
from typing import Final, Protocol

from interlock.executor.sandbox.network.addresses import IPAddress

MAX_ADDRESSES: Final = 8


class Resolver(Protocol):
    """Finds addresses."""

    async def __call__(self, name: str, port: int) -> list[IPAddress]:
        """At most MAX_ADDRESSES, best first. Raises OSError when there are none."""


def forget_search_domains() -> None:
    """Before the first look-up of the process: resolv.conf(5), LOCALDOMAIN."""
    os.environ["LOCALDOMAIN"] = ""


class SystemResolver:
    """The machine's resolver, after names that the configuration gives an address of."""

    def __init__(self, pinned: Mapping[str, str]) -> None:
        self._pinned = dict(pinned)

    async def __call__(self, name: str, port: int) -> list[IPAddress]:
        if name in self._pinned:
            return [ipaddress.ip_address(self._pinned[name])]
        # Bytes, so that no IDNA is done to it; a dot at the end, so that no search domain is tried behind it. A name
        # without dots may be one of /etc/hosts, which has none at the end; `forget_search_domains` is for it.
        asked = (name + "." if "." in name else name).encode("ascii")
        found = await asyncio.get_running_loop().run_in_executor(None, _look_up, asked, port)
        unique = list(dict.fromkeys(found))[:MAX_ADDRESSES]
        if not unique:
            raise OSError("no address")
        return unique


def _look_up(name: bytes, port: int) -> list[IPAddress]:
    answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [ipaddress.ip_address(answer[4][0]) for answer in answers if "%" not in str(answer[4][0])]
