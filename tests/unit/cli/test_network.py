"""What is shown of a command's network."""

from __future__ import annotations

from interlock.cli.show.network import SHOWN, network_lines
from interlock.v1.step_pb2 import NetworkAttempt, NetworkReport


def test_each_attempt_is_a_line() -> None:
    good = NetworkAttempt(
        host="good.test", port=443, allowed=True, address="192.0.2.1", sent_bytes=5, received_bytes=7
    )
    bad = NetworkAttempt(host="bad\x1b[2J\n.test", reason="bad_request", detail="The first line is wrong.")
    report = NetworkReport(
        attempts=[good, bad], attempts_total=2, refused_total=1, sent_bytes=5, received_bytes=7, problem="cut"
    )
    head, first, second, last = network_lines(report)
    assert "2 connections, 1 refused" in head
    assert first.startswith("allowed  good.test:443  at 192.0.2.1")
    assert second.startswith("refused  bad")
    assert "\x1b" not in second
    assert "\n" not in second
    assert second.endswith("bad_request: The first line is wrong.")
    assert "cut" in last


def test_many_are_cut_and_counted() -> None:
    attempts = [NetworkAttempt(host="h.test", port=1, reason="not_listed")] * 60
    lines = network_lines(NetworkReport(attempts=attempts, attempts_total=5000, refused_total=5000))
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1].endswith(f"{5000 - SHOWN} more")
