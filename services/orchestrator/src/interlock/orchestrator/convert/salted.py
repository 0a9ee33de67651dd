"""Payloads and texts that a journal commits to by a salted hash, so that they can be erased and it still verifies.

A payload begins with 128 random bits that nobody can guess, and its digest covers them: when the bytes are gone, with
the salt, the digest tells nothing about what they were. Format: docs/journal-format.md.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from interlock.common.digests import digest_bytes, is_digest, sha256_text
from interlock.orchestrator.domain.events import REGISTRY
from interlock.orchestrator.store.records import Payload

SUFFIX: Final = "_payload"
TEXT: Final = "text/plain; charset=utf-8"
ERASED: Final = "[erased]"
"""What stands where a text was."""

_NAMES: Final = ("goal", "comment", "additional_context", "feedback")
"""Texts that people wrote: wherever they stand in an event, they are beside it."""

_NAMES_OF_PEOPLE: Final = frozenset({"env", "labels", "metadata"})
_WITHIN: Final = "decision"
_SALT: Final = re.compile(rb"interlock-salt:[0-9a-f]{32}\n")


def payload(body: bytes, media_type: str) -> tuple[str, Payload]:
    """A payload with a salt of its own, and the digest that events refer to it by."""
    salted = b"interlock-salt:" + secrets.token_hex(16).encode() + b"\n" + body
    digest = sha256_text(salted)
    return digest, Payload(digest_bytes(digest), media_type, salted)


def plain(body: bytes) -> bytes:
    """The content of a payload. Those of earlier releases have no salt."""
    found = _SALT.match(body)
    return body[found.end() :] if found else body


def conceal(data: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str, Payload]]]:
    """An event's data with what people wrote replaced by digests, and for each its digest, text and payload."""
    out, found = dict(data), []
    for name in _NAMES:
        text = out.get(name)
        if text and isinstance(text, str):
            digest, kept = payload(text.encode(), TEXT)
            del out[name]
            out[name + SUFFIX] = digest
            found.append((digest, text, kept))
    if isinstance(within := out.get(_WITHIN), dict):
        out[_WITHIN], more = conceal(within)
        found += more
    return out, found


def reveal(data: dict[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The data with the texts again; ERASED where one is gone."""
    out = dict(data)
    for name in _NAMES:
        if name + SUFFIX in out:
            out[name] = texts.get(out.pop(name + SUFFIX), ERASED)
    if isinstance(within := out.get(_WITHIN), dict):
        out[_WITHIN] = reveal(within, texts)
    return out


def concealed(data: Mapping[str, Any]) -> Iterator[str]:
    """Digests of the texts that an event's data commits to."""
    for name in _NAMES:
        if name + SUFFIX in data:
            yield data[name + SUFFIX]
    if isinstance(within := data.get(_WITHIN), dict):
        yield from concealed(within)


def references(data: Any) -> Iterator[tuple[str, str]]:
    """Names and digests of the payloads that an event's data refers to, wherever they stand in it.

    Names in `env`, `labels` and `metadata` are people's own, whatever they end in (docs/journal-format.md).
    """
    if isinstance(data, list):
        for item in data:
            yield from references(item)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key.endswith(SUFFIX) and isinstance(value, str) and is_digest(value):
                yield key.removesuffix(SUFFIX), value
            elif key not in _NAMES_OF_PEOPLE:
                yield from references(value)


TYPES: Final = frozenset(
    name for name, kind in REGISTRY.items() if {*_NAMES, _WITHIN} & set(kind.__dataclass_fields__)
)
"""Events that may have such texts."""
