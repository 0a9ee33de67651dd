"""Errors as people and scripts see them."""

from __future__ import annotations

import pytest

from interlock.cli.errors import error_lines, exit_code
from interlock.common.errors import InterlockError, Reason, Violation


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.INVALID_ARGUMENT, 2),
        (Reason.PLAN_INVALID, 2),
        (Reason.VALIDATION_FAILED, 2),
        (Reason.RUN_NOT_FOUND, 5),
        (Reason.RUN_EMPTY_PLAN, 2),
        (Reason.RUN_TOO_MANY_STEPS, 2),
        (Reason.WORKSPACE_NOT_FOUND, 5),
        (Reason.APPROVAL_NOT_FOUND, 5),
        (Reason.PERMISSION_DENIED, 6),
        (Reason.UNAUTHENTICATED, 6),
        (Reason.UNAVAILABLE, 7),
        (Reason.DATABASE_UNAVAILABLE, 7),
        (Reason.DEADLINE_EXCEEDED, 124),
        (Reason.RUN_WRONG_STATE, 1),
        (Reason.APPROVAL_ALREADY_DECIDED, 1),
        (Reason.INTERNAL, 1),
    ],
)
def test_exit_codes(reason: Reason, code: int) -> None:
    assert exit_code(InterlockError(reason, "x")) == code


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_documented_exit_code_and_something_to_do(reason: Reason) -> None:
    error = InterlockError(reason, "What happened.")
    assert exit_code(error) in {1, 2, 5, 6, 7, 124}
    lines = error_lines(error)
    assert lines[0] == "Error: What happened."
    assert lines[-1] == f"  reason: {reason.value}"
    assert any(line.startswith("  do:     ") for line in lines)


def test_message_field_what_to_do_and_details_in_that_order() -> None:
    error = InterlockError(
        Reason.RUN_WRONG_STATE,
        "It is done.",
        field="run_id",
        fix="Leave it.",
        metadata={"current": "COMPLETED", "grpc_code": "X"},
    )
    assert error_lines(error) == [
        "Error: It is done.",
        "  field:  run_id",
        "  do:     Leave it.",
        "  detail: current=COMPLETED",
        "  reason: RUN_WRONG_STATE",
    ]


def test_every_violation_is_listed_and_nothing_moves_the_cursor() -> None:
    error = InterlockError(
        Reason.VALIDATION_FAILED,
        "Two\x1b[31m fields.",
        violations=[Violation("goal", "is empty"), Violation("steps[0]\n", "is bad")],
    )
    lines = error_lines(error)
    assert lines[0] == "Error: Two\\x1b[31m fields."
    assert "  field:  goal: is empty" in lines
    assert "  field:  steps[0]\\x0a: is bad" in lines
