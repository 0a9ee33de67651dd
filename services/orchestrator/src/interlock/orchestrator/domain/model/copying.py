"""Copies of frozen records with some fields changed, several times faster than `dataclasses.replace`.

Every event of every run makes two such copies of records with some forty fields, so that they were most of what a
step cost. `replace` looks at each field's definition and calls the constructor; here the copy is straight-line code,
generated once a class in the way in which `dataclasses` generates constructors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def copier(cls: type[T]) -> Callable[[T, Mapping[str, Any]], T]:
    """A function (record, changes) → record: equal to `dataclasses.replace(record, **changes)`.

    `cls` is a frozen dataclass with slots, all of whose fields its constructor takes, without `__post_init__`. A name
    that is no field raises KeyError.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]  # it is a dataclass
    setters = {name: getattr(cls, name).__set__ for name in names}
    lines = ["def copy(record, changes):", "    made = new(cls)"]
    lines += [f"    set_{name}(made, record.{name})" for name in names]
    lines += [
        "    for name, value in changes.items():",
        "        setters[name](made, value)",
        "    return made",
    ]
    known: dict[str, Any] = {"new": object.__new__, "cls": cls, "setters": setters}
    known |= {f"set_{name}": setter for name, setter in setters.items()}
    exec("\n".join(lines), known)  # noqa: S102 - the text is made of field names alone
    made: Callable[[T, Mapping[str, Any]], T] = known["copy"]
    return made
