"""The figures of one run of the bench, and the shape in which they are saved: docs/performance.md documents it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSION = 1


class Results:
    """Samples by measure and engine."""

    def __init__(self, postgres: str, *, full: bool) -> None:
        self._postgres = postgres
        self._full = full
        self._began = datetime.now(UTC)
        self._load = os.getloadavg()[0]
        self._measures: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0

    def add(self, measure: str, engine: str, given: dict[str, Any], found: dict[str, Any]) -> None:
        """One sample."""
        entry = self._entry(measure, engine)
        entry.setdefault("settings", given)
        entry.setdefault("samples", []).append(found)

    def missed(self, measure: str, engine: str, why: str) -> None:
        """A measure that gave no figure."""
        self._entry(measure, engine)["not_run"] = why

    def failed(self, engine: str) -> bool:
        """Whether a measure of this engine gave no figure."""
        return any("not_run" in found.get(engine, {}) for found in self._measures.values())

    def measures(self) -> dict[str, dict[str, Any]]:
        """By measure, then engine: `settings`, `samples`, and the median, minimum and maximum of each figure."""
        for engines in self._measures.values():
            for entry in engines.values():
                entry.update(_summary(entry.get("samples", [])))
        return self._measures

    def value(self, measure: str, engine: str, *path: str) -> float | None:
        """The median of a figure; None where there is none."""
        samples = self._measures.get(measure, {}).get(engine, {}).get("samples", [])
        values = [_at(sample, path) for sample in samples]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    def text(self) -> str:
        """The file."""
        whole = {
            "version": VERSION,
            "began": self._began.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": round(self.seconds, 1),
            "full": self._full,
            "revision": _revision(),
            "machine": {
                "cpus": os.cpu_count(),
                "model": _cpu_model(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "postgres": self._postgres,
                "load_at_start": round(self._load, 2),
                "load_at_end": round(os.getloadavg()[0], 2),
            },
            "measures": self.measures(),
        }
        return json.dumps(whole, indent=2) + "\n"

    def _entry(self, measure: str, engine: str) -> dict[str, Any]:
        found: dict[str, Any] = self._measures.setdefault(measure, {}).setdefault(engine, {})
        return found


def _at(sample: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = sample
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    if not samples:
        return {}
    names = [name for name, value in samples[0].items() if isinstance(value, int | float)]
    out: dict[str, Any] = {"median": {}, "low": {}, "high": {}}
    for name in names:
        values = [sample[name] for sample in samples if name in sample]
        out["median"][name] = statistics.median(values)
        out["low"][name], out["high"][name] = min(values), max(values)
    return out


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _revision() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
