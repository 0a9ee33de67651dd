"""Whether something accepts connections at an address."""

from __future__ import annotations

import asyncio

from interlock.common.addresses import parse_address


async def listens(address: str) -> bool:
    """Whether a connection can be opened there within a second. Nothing is sent."""
    parsed = parse_address(address)
    if parsed.is_unix:
        opening = asyncio.open_unix_connection(parsed.path)
    else:
        opening = asyncio.open_connection(parsed.host, parsed.port)
    try:
        _, writer = await asyncio.wait_for(opening, 1)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
