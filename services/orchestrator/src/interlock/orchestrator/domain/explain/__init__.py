"""What a run is waiting for, since when, and what can be done about it, in plain words."""

from __future__ import annotations

from interlock.orchestrator.domain.explain.explain import explain
from interlock.orchestrator.domain.explain.words import (
    Cause,
    Driver,
    Explanation,
    Facts,
    Line,
    Option,
    Trouble,
)

__all__ = ["Cause", "Driver", "Explanation", "Facts", "Line", "Option", "Trouble", "explain"]
