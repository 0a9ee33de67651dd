"""Long texts of a step's input: kept in the payload table, referred to by digest.

In the domain's input object the key `new_content` then becomes `new_content_payload`, and so on; `inline` puts
the texts back for those who need them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.orchestrator.convert.salted import SUFFIX, TEXT, payload
from interlock.orchestrator.store.records import Payload

__all__ = ["SUFFIX", "TEXT", "all_references", "cut_lines", "externalise", "inline", "payload", "references"]

INLINE_BYTES = 4096
"""Longest text kept inside an event, UTF-8 bytes."""

_DIFF_BYTES = 256 * 1024

_TEXT_FIELDS = ("new_content", "patch", "instruction", "command")


def externalise(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Payload]]:
    """An input object with its long texts replaced by digests, and the texts."""
    out, payloads = dict(fields), []
    for name in _TEXT_FIELDS:
        text = out.get(name)
        if isinstance(text, str) and len(body := text.encode()) > INLINE_BYTES:
            digest, kept = payload(body, TEXT)
            del out[name]
            out[name + SUFFIX] = digest
            payloads.append(kept)
    return out, payloads


def references(fields: Mapping[str, Any]) -> list[str]:
    """Digests of the texts an input object refers to."""
    return [value for key, value in fields.items() if key.endswith(SUFFIX)]


def inline(fields: Mapping[str, Any], bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """The input object with its texts, as far as `bodies` (by digest) has them."""
    out = {}
    for key, value in fields.items():
        if not key.endswith(SUFFIX):
            out[key] = value
        elif value in bodies:
            out[key.removesuffix(SUFFIX)] = bodies[value].decode()
    return out


def all_references(inputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Digests of the texts that any of the input objects refers to."""
    return [digest for fields in inputs for digest in references(fields)]


def cut_lines(text: str) -> tuple[str, bool]:
    """At most 256 KiB of a diff, cut at a line's end, and whether anything was cut."""
    raw = text.encode()
    if len(raw) <= _DIFF_BYTES:
        return text, False
    return raw[:_DIFF_BYTES].rpartition(b"\n")[0].decode(errors="ignore") + "\n", True
