"""The tables that a run of the bench prints: figures, and how many times Interlock's they are."""

from __future__ import annotations

from collections.abc import Sequence

from bench.contenders import CONTENDERS, FLOOR
from bench.results import Results

ENGINES = tuple(each.name for each in CONTENDERS)
Column = tuple[str, str, tuple[str, ...], str]
_COLUMNS: tuple[Column, ...] = (
    ("steps/s at 20 runs", "throughput_20", ("steps_per_second",), "{:,.0f}"),
    ("steps/s at 50 runs", "throughput_50", ("steps_per_second",), "{:,.0f}"),
    ("steps/s at 200 runs", "throughput_200", ("steps_per_second",), "{:,.0f}"),
    ("steps/s at 50 runs, slow commits", "slow_commit_50", ("steps_per_second",), "{:,.0f}"),
    ("CPU ms/step, engine", "throughput_50", ("engine_cpu_ms_per_step",), "{:.3f}"),
    ("CPU ms/step, its executor", "throughput_50", ("executor_cpu_ms_per_step",), "{:.3f}"),
    ("CPU ms/step, PostgreSQL", "throughput_50", ("postgres_cpu_ms_per_step",), "{:.3f}"),
    ("CPU ms/step, load client", "throughput_50", ("client_cpu_ms_per_step",), "{:.3f}"),
    ("commits/step", "throughput_50", ("commits_per_step",), "{:.3f}"),
    ("log bytes/step", "throughput_50", ("wal_bytes_per_step",), "{:,.0f}"),
    ("idle step p50 ms", "idle", ("p50_ms",), "{:.2f}"),
    ("idle step p99 ms", "idle", ("p99_ms",), "{:.2f}"),
    ("idle step p50 ms, slow commits", "slow_commit_idle", ("p50_ms",), "{:.2f}"),
    ("decision → durable p50 ms", "approval", ("decision_to_durable", "p50_ms"), "{:.2f}"),
    ("decision → durable p99 ms", "approval", ("decision_to_durable", "p99_ms"), "{:.2f}"),
    ("pending → subscriber p50 ms", "approval", ("pending_to_subscriber", "p50_ms"), "{:.2f}"),
    ("recovery of 500 runs s", "recovery", ("seconds",), "{:.2f}"),
    ("the same over its least s", "recovery", ("over_seconds",), "{:.2f}"),
    ("steps executed twice", "recovery", ("twice",), "{:.0f}"),
    ("recovery by a replica over its least s", "recovery_replica", ("over_seconds",), "{:.2f}"),
    ("steps executed twice", "recovery_replica", ("twice",), "{:.0f}"),
)


def text(results: Results) -> str:
    """Everything as Markdown tables."""
    parts = [_figures(results), _growth(results), _ratios(results), _missing(results)]
    return "\n".join(part for part in parts if part)


def _figures(results: Results) -> str:
    rows = [["", *ENGINES]]
    for title, measure, path, form in _COLUMNS:
        values = [results.value(measure, engine, *path) for engine in ENGINES]
        if any(value is not None for value in values):
            rows.append([title, *(form.format(value) if value is not None else "–" for value in values)])
    limit = results.value("throughput_50", FLOOR.name, "steps_per_second")
    foot = f"\n{FLOOR.name}/s on 8 connections: {limit:,.0f}\n" if limit else ""
    return "\n" + _grid(rows) + foot


def _growth(results: Results) -> str:
    rows = [["a run of 5,000 steps", *ENGINES]]
    found = results.measures().get("growth", {})
    for title, pick in (("ms/step, first tenth", 0), ("ms/step, last tenth", -1)):
        cells = []
        for engine in ENGINES:
            samples = found.get(engine, {}).get("samples")
            cells.append(f"{samples[0]['deciles_ms'][pick]:.2f}" if samples else "–")
        rows.append([title, *cells])
    return "\n" + _grid(rows) if found else ""


def _ratios(results: Results) -> str:
    """Floors, as ratios to the best peer in the same run."""
    lines = []
    for name in ("throughput_20", "throughput_50", "throughput_200", "slow_commit_50"):
        peers = {e: results.value(name, e, "steps_per_second") for e in ENGINES[1:]}
        known = {engine: value for engine, value in peers.items() if value}
        ours = results.value(name, "Interlock", "steps_per_second")
        if known and ours:
            best = max(known, key=lambda engine: known[engine])
            limit = results.value(name, FLOOR.name, "steps_per_second")
            beside = f", {ours / limit:.2f} times the one-statement commits" if limit else ""
            lines.append(f"{name}: {ours / known[best]:.2f} times the best peer ({best}){beside}")
    rates = [results.value(f"orchestrators_{n}", "Interlock", "steps_per_second") for n in (1, 2, 3)]
    if all(rates):
        one, *more = (rate or 0.0 for rate in rates)
        said = " and ".join(f"{rate / one:.2f}" for rate in more)
        lines.append(f"steps/s of two and of three orchestrators: {said} times those of one")
    peers = {e: results.value("idle", e, "p50_ms") for e in ENGINES[1:]}
    known = {engine: value for engine, value in peers.items() if value}
    ours = results.value("idle", "Interlock", "p50_ms")
    if known and ours:
        best = min(known, key=lambda engine: known[engine])
        lines.append(f"idle p50: {ours / known[best]:.2f} times the best peer's ({best})")
    return "\n" + "\n".join(lines) if lines else ""


def _missing(results: Results) -> str:
    lines = [
        f"{measure}, {engine}: not run: {entry['not_run']}"
        for measure, engines in results.measures().items()
        for engine, entry in engines.items()
        if "not_run" in entry
    ]
    return "\n" + "\n".join(lines) if lines else ""


def _grid(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
