"""Whether something accepts connections at an address, and whether it is a gateway that serves."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from interlock.common.addresses import parse_address

_HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def listens(address: str) -> bool:
    """Whether a connection can be opened there within a second. Nothing is sent."""
    try:
        _, writer = await asyncio.wait_for(_opened(address), 1)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def answers_http(address: str, seconds: float = 2.0, *, https: bool = False) -> bool:
    """Whether the gateway at this address answers `/healthz` with 200 within a time.

    Over HTTPS any certificate will do: nothing secret is asked or told, and its authority and names are for those who
    come from outside, by which this address need not be one of them.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _opened(address, _unverified() if https else None)
            try:
                writer.write(_HEALTHZ)
                return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def _unverified() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


async def _opened(
    address: str, secure: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parsed = parse_address(address)
    if parsed.is_unix:
        return await asyncio.open_unix_connection(
            parsed.path, ssl=secure, server_hostname="" if secure else None
        )
    return await asyncio.open_connection(parsed.host, parsed.port, ssl=secure)
