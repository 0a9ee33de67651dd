"""One POST over a connection of its own: to an address that was looked at, without redirects, bounded in all ways.

Of the answer only the status counts. Its head is read up to 16 KiB and its body not at all, so that an endpoint can
neither fill memory nor hold a delivery open by trickling.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from interlock.orchestrator.webhooks import addresses
from interlock.orchestrator.webhooks.addresses import Network, Refused, Target

_HEAD: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")


class Failed(Exception):
    """No answer came. Its text says why."""


class Sender:
    """Sends to whatever the settings allow.

    Args:
        allowed: networks that may be sent to though they are not of the public internet.
        timeout: seconds for everything: name, connection, TLS, request and the head of the answer.
        trust: certificates of authorities; by default those of the system.
    """

    def __init__(
        self, allowed: Sequence[Network], timeout: float, trust: ssl.SSLContext | None = None
    ) -> None:
        self._allowed = allowed
        self._timeout = timeout
        self._trust = trust or ssl.create_default_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises Failed when there is none."""
        target = addresses.parse(url)
        try:
            async with asyncio.timeout(self._timeout):
                address = await addresses.resolve(target, self._allowed)
                return await self._exchange(target, address, _request(target, headers, body))
        except TimeoutError:
            raise Failed(f"no answer within {self._timeout:g} s") from None
        except Refused as refusal:
            raise Failed(str(refusal)) from None
        except ssl.SSLError as error:
            raise Failed(f"TLS: {error.reason or 'failed'}") from None
        except (OSError, EOFError, ValueError) as error:
            raise Failed(f"the connection failed ({type(error).__name__})") from None

    async def _exchange(self, target: Target, address: str, request: bytes) -> int:
        reader, writer = await asyncio.open_connection(
            address,
            target.port,
            limit=_HEAD,
            ssl=self._trust if target.secure else None,
            server_hostname=target.host if target.secure else None,
        )
        try:
            writer.write(request)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    status = 100
    while status < 200:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Failed("the head of the answer is too long") from None
        except asyncio.IncompleteReadError:
            raise Failed("the connection was closed without an answer") from None
        found = _STATUS.match(head)
        if found is None:
            raise Failed("the answer is not HTTP")
        status = int(found[1])
    return status


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {
        "host": target.authority,
        "user-agent": "interlock",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **headers,
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
