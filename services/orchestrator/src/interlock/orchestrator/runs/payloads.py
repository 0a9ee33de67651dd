"""Payloads by digest: recent ones from memory, the others from the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from interlock.common import logs
from interlock.common.digests import digest_bytes, digest_text, sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert.salted import plain
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import others
from interlock.orchestrator.store.records import Payload

_log = logs.get("payloads")


class Payloads:
    """A cache in front of the payload table. Content never changes under its digest, so nothing goes stale.

    Args:
        capacity: bytes kept; the least recently used go first.
    """

    def __init__(self, database: Database, *, capacity: int = 64 * 1024 * 1024) -> None:
        self._database = database
        self._capacity = capacity
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def learn(self, payloads: Iterable[Payload]) -> None:
        """Takes in payloads that have just become durable."""
        for payload in payloads:
            self._put(digest_text(payload.digest), plain(payload.body))

    def forget(self, digests: Iterable[str]) -> None:
        """Payloads that were erased."""
        for digest in digests:
            if (dropped := self._bodies.pop(digest, None)) is not None:
                self._size -= len(dropped)

    async def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Contents, without salts, by digest. Left out is what is not stored, was erased, or is not what it was."""
        found = {}
        for digest in dict.fromkeys(digests):
            if digest in self._bodies:
                self._bodies.move_to_end(digest)
                found[digest] = self._bodies[digest]
        missing = [digest_bytes(digest) for digest in set(digests) if digest and digest not in found]
        if missing:
            for raw, body in (await others.payload_bodies(self._database, missing)).items():
                digest = digest_text(raw)
                if not body:
                    continue  # erased
                if sha256_text(body) != digest:
                    _log.error("a payload was changed in the database", digest=digest)
                    continue
                found[digest] = plain(body)
                self._put(digest, found[digest])
        return found

    async def need(self, digests: Sequence[str]) -> dict[str, bytes]:
        """As `get`, but all of them. Raises EFFECT_TAMPERED where one is gone or changed."""
        found = await self.get(digests)
        for digest in digests:
            if digest and digest not in found:
                raise InterlockError(
                    Reason.EFFECT_TAMPERED,
                    f"The stored content {digest} is gone, or is not what it was when it was recorded.",
                    fix="Find out who wrote to the database, and restore it from a backup; or prepare the step anew: "
                    "`interlock step retry RUN STEP`.",
                    metadata={"digest": digest},
                )
        return found

    def _put(self, digest: str, body: bytes) -> None:
        if digest in self._bodies or len(body) > self._capacity // 4:
            return
        self._bodies[digest] = body
        self._size += len(body)
        while self._size > self._capacity:
            _, dropped = self._bodies.popitem(last=False)
            self._size -= len(dropped)
