"""Envelopes: bounds within which later steps of a run do not ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.duration_pb2 import Duration

from interlock.client.connection import Connection
from interlock.v1 import envelope_pb2 as pb


def bounds(
    paths: Iterable[str],
    commands: Iterable[Sequence[str]] = (),
    *,
    max_steps: int = 0,
    max_bytes: int = 0,
    max_cost_micros: int = 0,
    lasts: float | None = None,
) -> pb.EnvelopeBounds:
    """What later steps may do: globs of paths, first words of commands, and how much; `lasts` is in seconds."""
    made = pb.EnvelopeBounds(
        paths=paths,
        commands=[pb.CommandPrefix(words=words) for words in commands],
        max_steps=max_steps,
        max_bytes=max_bytes,
        max_cost_micros=max_cost_micros,
    )
    if lasts is not None:
        made.lasts.CopyFrom(Duration(seconds=int(lasts), nanos=round(lasts % 1 * 1_000_000_000)))
    return made


class EnvelopeCalls(Connection):
    """Calls of the orchestrator about envelopes."""

    async def grant_envelope(
        self,
        run_id: str,
        allowed: pb.EnvelopeBounds,
        comment: str = "",
        *,
        channel: str = "sdk",
        request_id: str = "",
    ) -> pb.Envelope:
        """Let later steps within the bounds go on without asking. Only who could approve alone may."""
        request = pb.GrantEnvelopeRequest(
            request_id=self.request_id(request_id),
            run_id=run_id,
            bounds=allowed,
            comment=comment,
            channel=channel,
        )
        return (await self.call(self.orchestrator.GrantEnvelope, request)).envelope

    async def revoke_envelope(
        self, run_id: str, envelope_id: str, comment: str = "", *, request_id: str = ""
    ) -> pb.Envelope:
        """Take one back; what it has let through stays."""
        request = pb.RevokeEnvelopeRequest(
            request_id=self.request_id(request_id), run_id=run_id, envelope_id=envelope_id, comment=comment
        )
        return (await self.call(self.orchestrator.RevokeEnvelope, request)).envelope
