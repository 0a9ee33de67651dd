"""JSON text to a plain document and back: strict, bounded, and with typed errors."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from interlock.common.errors import InterlockError, Reason

_SHOWN = 300


def parse_json(raw: bytes) -> Any:
    """The document a body holds. Raises INVALID_ARGUMENT for what is not JSON, or names a key twice."""
    try:
        return json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise bad_body(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise bad_body("it is not UTF-8") from None
    except RecursionError:
        raise bad_body("it is nested too deeply") from None
    except ValueError as error:
        raise bad_body(str(error)[:_SHOWN]) from None


def write_json(document: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def bad_body(why: str) -> InterlockError:
    """The error for a body that is not what it must be."""
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"The body is not usable JSON: {why}.",
        field="body",
        fix="Send one JSON object in UTF-8, as /openapi.json describes it.",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
