"""Envelopes of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from interlock.cli.output import show_list, show_one, write_fields
from interlock.cli.settings import Settings
from interlock.cli.text import counted, enum_text, size_text, time_text
from interlock.v1.envelope_pb2 import Envelope, EnvelopeBounds, EnvelopeState


def show_envelope(settings: Settings, envelope: Envelope) -> None:
    """One envelope."""
    show_one(settings, envelope, lambda: write_fields(_fields(envelope)))


def list_envelopes(settings: Settings, envelopes: Sequence[Envelope]) -> None:
    """The envelopes of a run, in the order in which they were granted."""
    show_list(
        settings,
        "envelopes",
        envelopes,
        ("ENVELOPE", "STATE", "BY", "USED", "ALLOWS"),
        lambda e: (e.envelope_id, state_text(e), granter(e), used_text(e), bounds_text(e.bounds)),
        empty="None; `interlock run envelope add RUN --path GLOB` grants one.",
    )


def envelope_line(envelope: Envelope) -> str:
    """One line for a run. Not escaped."""
    return (
        f"{envelope.envelope_id} ({state_text(envelope)}, by {granter(envelope)}, {used_text(envelope)}): "
        f"{bounds_text(envelope.bounds)}"
    )


def state_text(envelope: Envelope) -> str:
    """`active`, `revoked by eve`, `exhausted`."""
    state = enum_text(EnvelopeState, envelope.state).lower()
    return f"{state} by {envelope.revoked_by}" if envelope.revoked_by else state


def granter(envelope: Envelope) -> str:
    """`bob for ada`."""
    return envelope.granted_by + (f" for {envelope.on_behalf_of}" if envelope.on_behalf_of else "")


def used_text(envelope: Envelope) -> str:
    """`2 of 20 steps, 1.2 KiB`."""
    return (
        f"{len(envelope.steps)} of {counted(envelope.bounds.max_steps, 'step')}, {size_text(envelope.bytes)}"
    )


def bounds_text(bounds: EnvelopeBounds) -> str:
    """Paths, commands, and how much."""
    commands = ", ".join(shlex.join(each.words) for each in bounds.commands)
    parts = [
        f"paths {', '.join(bounds.paths)}",
        f"commands {commands}" if commands else "no commands",
        f"at most {size_text(bounds.max_bytes)}" if bounds.max_bytes else "",
        f"at most ${bounds.max_cost_micros / 1_000_000:g}" if bounds.max_cost_micros else "",
    ]
    return "; ".join(part for part in parts if part)


def _fields(e: Envelope) -> tuple[tuple[str, str], ...]:
    return (
        ("envelope", e.envelope_id),
        ("state", state_text(e)),
        ("allows", bounds_text(e.bounds)),
        ("used", used_text(e) + (f" (steps {', '.join(map(str, e.steps))})" if e.steps else "")),
        ("granted", f"{time_text(e.granted_at)} by {granter(e)} ({e.authentication})"),
        ("with", e.approval_id),
        ("until", time_text(e.expires_at) if e.HasField("expires_at") else ""),
        ("comment", e.comment),
    )
