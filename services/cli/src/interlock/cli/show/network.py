"""What a command did with its network, for people."""

from __future__ import annotations

from interlock.cli.safe import escape
from interlock.cli.text import size_text
from interlock.v1.step_pb2 import NetworkAttempt, NetworkReport

SHOWN = 50


def network_lines(report: NetworkReport) -> list[str]:
    """A line of totals, then one each attempt, escaped; the first ones where there are many."""
    moved = f"{size_text(report.sent_bytes)} sent, {size_text(report.received_bytes)} received"
    head = f"--- network: {report.attempts_total} connections, {report.refused_total} refused, {moved} ---"
    lines = [head, *(_line(attempt) for attempt in report.attempts[:SHOWN])]
    if report.attempts_total > SHOWN:
        lines.append(f"… {report.attempts_total - min(len(report.attempts), SHOWN)} more")
    if report.problem:
        lines.append(f"this may not be all: {report.problem}")
    return [escape(line) for line in lines]


def _line(attempt: NetworkAttempt) -> str:
    host = f"{attempt.host}:{attempt.port}" if attempt.port else attempt.host
    if not attempt.allowed:
        return f"refused  {host}  {attempt.reason}: {attempt.detail}"
    moved = f"{size_text(attempt.sent_bytes)} sent, {size_text(attempt.received_bytes)} received"
    return f"allowed  {host}  at {attempt.address}, {moved}" + (
        f", {attempt.reason}" if attempt.reason else ""
    )
