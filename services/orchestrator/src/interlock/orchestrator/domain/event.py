"""Events in general, and their form in the journal.

`encode` leaves out every field that has its default value, so that a field added later does not change the
bytes, and with them the hash, of events written before it existed. `decode` fills the defaults in again.
Enumerations are written as their values, nested records as objects, times as RFC 3339 text.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from interlock.orchestrator.domain.model import Json

REGISTRY: dict[str, type[Event]] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run; `step` is 0 when it is about the run itself."""

    type: ClassVar[str] = ""
    step: int = field(default=0, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # slots=True makes each class twice; the second one, complete with fields, stays registered.
        if cls.type:
            REGISTRY[cls.type] = cls


def encode(event: Event) -> dict[str, Any]:
    """The event's `data` object: its fields without defaults and without `step`."""
    return _object(event)


def decode(type_: str, step: int, data: Json) -> Event:
    """The event with this type, step and data. Raises ValueError for what no version has written."""
    cls = REGISTRY.get(type_)
    if cls is None:
        raise ValueError(f"unknown event type {type_!r}")
    return cls(step=step, **_fields(cls, data, type_))


_MISSING: Any = object()
_DEFAULTS: dict[Any, tuple[tuple[str, Any], ...]] = {}
_HINTS: dict[Any, dict[str, Any]] = {}


def _object(record: Any) -> dict[str, Any]:
    out = {}
    for name, default in _DEFAULTS.get(type(record)) or _defaults(type(record)):
        value = getattr(record, name)
        if value is not default and value != default:
            kind = type(value)
            out[name] = value if kind is str or kind is int else _plain(value)
    return out


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind in _DEFAULTS:
        return _object(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return _object(value)
    return value


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else _MISSING


def _defaults(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    known = _DEFAULTS.get(cls)
    if known is None:
        fields = (f for f in dataclasses.fields(cls) if f.name != "step")
        known = _DEFAULTS[cls] = tuple((f.name, _default(f)) for f in fields)
    return known


def _hints(cls: type[Any]) -> dict[str, Any]:
    known = _HINTS.get(cls)
    if known is None:
        hints = get_type_hints(cls)
        known = _HINTS[cls] = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name != "step"}
    return known


def _fields(cls: type[Any], data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not an object")
    hints = _hints(cls)
    unknown = data.keys() - hints.keys()
    missing = {name for name, default in _defaults(cls) if default is _MISSING} - data.keys()
    if unknown or missing:
        raise ValueError(f"{where} has the wrong fields: {sorted(unknown | missing)}")
    return {name: _typed(hints[name], value, f"{where}.{name}") for name, value in data.items()}


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        if value is None:
            return None
        (hint,) = (arm for arm in get_args(hint) if arm is not NoneType)
        return _typed(hint, value, where)
    if origin is tuple:
        _require(isinstance(value, list), where)
        return tuple(_typed(get_args(hint)[0], item, where) for item in value)
    if not isinstance(hint, type):
        _require(isinstance(value, dict), where)
        return value
    if issubclass(hint, Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        return hint(**_fields(hint, value, where))
    _require(type(value) is hint, where)
    return value


def _require(holds: bool, where: str) -> None:
    if not holds:
        raise ValueError(f"{where} has a value of the wrong type")
