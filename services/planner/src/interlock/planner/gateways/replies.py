"""Reading replies: strict JSON with exact numbers, and the JSON inside a model's prose."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)
_MAX_STARTS = 64


class NotJson(ValueError):
    """The bytes or the text hold no JSON that can be read."""


def read_json(raw: bytes | str) -> Any:
    """JSON with its fractions as Decimal. Raises NotJson, also for nesting too deep and NaN."""
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise NotJson(str(error)[:200]) from None


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object, or NotJson."""
    data = read_json(raw)
    if not isinstance(data, dict):
        raise NotJson(f"it is a JSON {type(data).__name__}, not an object")
    return data


def find_json(text: str) -> Any:
    """The JSON object or array in a model's text: bare, in a code fence, or after some prose.

    Reasoning in ``<think>`` tags before it is passed over. Raises NotJson when there is none, or it is cut.
    """
    text = _THINKING.sub("", text).strip()
    for candidate in (text, *(match.strip() for match in _FENCE.findall(text))):
        try:
            data = read_json(candidate)
        except NotJson:
            continue
        if isinstance(data, (dict, list)):
            return data
    return _first_value(text)


def _first_value(text: str) -> Any:
    decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
    starts = [match.start() for match in re.finditer(r"[{\[]", text)]
    for start in starts[:_MAX_STARTS]:
        try:
            data, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, (dict, list)) and data:
            return data
    raise NotJson("it holds no complete JSON object or array")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
