"""The bench's own parts: the figures' file has the documented shape, tables say what is missing, locks have hashes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bench import plan, table
from bench.contenders import CONTENDERS, DRIVERS
from bench.environments import HERE
from bench.results import VERSION, Results

DOCS = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.fixture(name="results")
def fixture_results() -> Results:
    results = Results("18.0", full=False)
    for rate in (300.0, 100.0, 200.0):
        results.add("throughput_50", "Interlock", {"runs": 50}, {"steps_per_second": rate})
    results.add("throughput_50", "Absurd", {"runs": 50}, {"steps_per_second": 50.0})
    results.missed("throughput_50", "Restate", "npm is not installed")
    return results


def test_the_file_has_medians_and_ranges_and_says_what_was_not_run(results: Results) -> None:
    saved = json.loads(results.text())
    ours = saved["measures"]["throughput_50"]["Interlock"]
    assert (saved["version"], len(ours["samples"]), ours["settings"]) == (VERSION, 3, {"runs": 50})
    figures = [ours[which]["steps_per_second"] for which in ("median", "low", "high")]
    assert figures == [200.0, 100.0, 300.0]
    assert saved["measures"]["throughput_50"]["Restate"] == {"not_run": "npm is not installed"}


def test_the_table_has_ratios_to_the_best_peer_and_what_is_missing(results: Results) -> None:
    said = table.text(results)
    assert "throughput_50: 4.00 times the best peer (Absurd)" in said
    assert "throughput_50, Restate: not run: npm is not installed" in said
    assert results.failed("Restate")
    assert not results.failed("Interlock")


def test_every_field_of_the_file_is_documented(results: Results) -> None:
    text = DOCS.read_text()
    saved = json.loads(results.text())
    for name in (*saved, *saved["machine"], *plan.NAMES):
        prefix, _, number = name.rpartition("_")
        assert f"`{name}" in text or (prefix and f"`_{number}`" in text), name


def test_engines_are_locked_with_hashes() -> None:
    for each in CONTENDERS:
        assert (DRIVERS / each.driver).is_file()
        if each.environment:
            lock = (HERE / "requirements" / f"{each.environment}.txt").read_text()
            pinned = re.findall(
                r"^[a-z0-9_.-]+==[^ ]+.*\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE
            )
            assert len(pinned) == len(re.findall(r"^[a-z0-9_.-]+==", lock, re.MULTILINE)) > 0
    packages = json.loads((HERE / "npm" / "package-lock.json").read_text())["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
