"""Calls to the services behind: what of a request goes with them, and for how long they may take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from interlock.common.errors import InterlockError, Reason

TIMEOUT: Final = "grpc-timeout"
REQUEST_ID: Final = "x-request-id"
AUTHORIZATION: Final = "authorization"
_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CREDENTIAL_FORM = re.compile(r"[!-~]+( [!-~]+)+")
_TIMEOUT_FORM = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

Metadata = tuple[tuple[str, str], ...]


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's own id of the request; empty when it brings none that can be used."""
    given = headers.get(REQUEST_ID, "")
    return given if _ID_FORM.fullmatch(given) else ""


def credential(headers: Mapping[str, str]) -> str:
    """What proves who the caller is, to be sent on as it is. Raises UNAUTHENTICATED when there is nothing.

    The services judge it; the gateway holds no key to them. A session cookie of a browser would be exchanged for
    the bearer token behind it here, and nowhere else.
    """
    given = headers.get(AUTHORIZATION, "").strip()
    if not given:
        raise InterlockError(Reason.UNAUTHENTICATED, "The call carries no bearer token.")
    if not _CREDENTIAL_FORM.fullmatch(given):
        raise InterlockError(Reason.UNAUTHENTICATED, "The Authorization header cannot be read.")
    return given


def metadata(headers: Mapping[str, str], own_request_id: str) -> Metadata:
    """What goes with a call; the trace context is added where it is made."""
    return ((AUTHORIZATION, credential(headers)), (REQUEST_ID, own_request_id))


def deadline(headers: Mapping[str, str], usual: float, longest: float) -> float:
    """Seconds a call may take: what `Grpc-Timeout` asks for (`30S`, `500m`), at most `longest`."""
    given = headers.get(TIMEOUT, "").strip()
    if not given:
        return usual
    found = _TIMEOUT_FORM.fullmatch(given)
    if found is None:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{given[:40]!r} is not a timeout.",
            field=TIMEOUT,
            fix="Write a number and H, M, S, m, u or n, as gRPC does: 30S.",
        )
    return min(longest, int(found[1]) * _UNITS[found[2]])
