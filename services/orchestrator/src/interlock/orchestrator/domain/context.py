"""What a decision needs from outside, given as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Context:
    """The time, a source of ids (`new_id("apr")` → `apr-…`), who asks, the digest of the installation's policy, and
    whose agent asks (empty: nobody's)."""

    now: datetime
    new_id: Callable[[str], str]
    subject: str = ""
    policy: str = ""
    owner: str = ""
