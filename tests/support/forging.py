"""Page tokens and cursors whose check is right and whose contents are anything at all."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.common import paging
from interlock.common.errors import InterlockError, Reason

_NAMES = st.sampled_from(["after", "before", "seq", "position", "u", "p", "g", "a", "other"])
_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "\0", "\ud800", "run-1\0", "-1", "1e5", "٣", "9" * 500, "x" * 600]),
)
_NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, float("nan"), float("inf")]),
)
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)
_VALUES = st.one_of(
    _SCALARS, st.lists(_SCALARS, max_size=3), st.dictionaries(st.text(max_size=3), _SCALARS, max_size=2)
)
_OBJECTS = st.dictionaries(_NAMES, _VALUES, max_size=6)
_HONEST = [{"after": 0}, {"after": "x"}, {"before": 1}, {"before": "x"}, {"seq": 0}, {"position": 0}]
BODIES = st.one_of(
    st.sampled_from(_HONEST).map(lambda value: json.dumps(value).encode()),
    _OBJECTS.map(lambda value: json.dumps(value).encode()),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=50),
    st.sampled_from([b"", b"[" * 700, b'{"after":' * 80, b"{}", b"1" * 700]),
)


def forged(kind: bytes, scope: str, body: bytes) -> str:
    """The body with the check that a token of this kind and scope has."""
    check = paging._check(kind, scope, body, b"")
    return base64.urlsafe_b64encode(b"\x01" + check + body).rstrip(b"=").decode()


async def never_internal(ask: Callable[[bytes], Awaitable[object]], refusal: Reason) -> set[str]:
    """Asks with many bodies; each is either taken or refused with the reason. Returns how it went, both ways."""
    loop = asyncio.get_running_loop()
    seen = set()

    async def outcome(body: bytes) -> str:
        try:
            await asyncio.wait_for(ask(body), 30)
        except InterlockError as error:
            # A token over the size limit, or one that points where nothing is, is refused by others.
            if error.reason not in {refusal, Reason.VALIDATION_FAILED, Reason.TREE_NOT_FOUND}:
                raise
            return error.reason.value
        return "taken"

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(BODIES)
    def check(body: bytes) -> None:
        seen.add(asyncio.run_coroutine_threadsafe(outcome(body), loop).result())

    # Hypothesis is not asynchronous: it runs beside the loop that the calls are made in.
    await asyncio.to_thread(check)
    return seen


def scalars(**values: Any) -> bytes:
    """An honest body."""
    return json.dumps(values).encode()
