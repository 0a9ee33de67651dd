"""The provider's documents over HTTP: bounded in time and size, without redirects."""

from __future__ import annotations

import json
from typing import Any, Final

from interlock.common.access.oidc.settings import check_url
from interlock.common.errors import InterlockError, Reason

SECONDS: Final = 5.0
MOST_BYTES: Final = 512 * 1024
_DISCOVERY: Final = "/.well-known/openid-configuration"


async def discovery(issuer: str) -> dict[str, Any]:
    """The provider's metadata (OpenID Connect Discovery 1.0, 4). Raises UNAVAILABLE saying why."""
    found = await document(issuer.removesuffix("/") + _DISCOVERY)
    if found.get("issuer") != issuer:
        raise _failed(f"{issuer} says that it is {str(found.get('issuer'))[:200]!r}")
    return found


async def key_set(issuer: str) -> list[Any]:
    """The provider's published keys, as they are in the JWKS. Raises UNAVAILABLE saying why."""
    address = (await discovery(issuer)).get("jwks_uri")
    if not isinstance(address, str):
        raise _failed(f"{issuer} names no jwks_uri")
    check_url(address, "jwks_uri")
    keys = (await document(address)).get("keys")
    if not isinstance(keys, list):
        raise _failed(f"{address} lists no keys")
    return keys


async def document(address: str) -> dict[str, Any]:
    """A JSON object. Raises UNAVAILABLE."""
    import httpx  # only where a provider is configured

    try:
        async with (
            httpx.AsyncClient(timeout=SECONDS, headers={"accept": "application/json"}) as client,
            client.stream("GET", address) as answer,
        ):
            if answer.status_code != 200:
                raise _failed(f"{address} answered {answer.status_code}")
            raw = b""
            async for part in answer.aiter_bytes():
                raw += part
                if len(raw) > MOST_BYTES:
                    raise _failed(f"{address} is larger than {MOST_BYTES} bytes")
        found = json.loads(raw)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _failed(f"{address}: {type(error).__name__}") from None
    except (ValueError, RecursionError):
        raise _failed(f"{address} is not JSON") from None
    if not isinstance(found, dict):
        raise _failed(f"{address} is not a JSON object")
    return found


def _failed(why: str) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"The OpenID provider cannot be asked: {why}.",
        fix="Check its address, and that it is reached.",
    )
