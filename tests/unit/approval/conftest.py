from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from interlock.approval.domain.changes import Change, Item, Kind


@pytest.fixture
def change() -> Callable[..., Change]:
    def make(kind: Kind, position: int, number: int, *, size: int = 1, **fields: Any) -> Change:
        item = Item(f"apr-{number:03d}", **fields)
        return Change(kind, position, item, f"brief {number}", f"full {number}", size)

    return make
