"""`interlock budget`: set, shown, raised and removed, and refused in words where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.command_line import EDIT, Installation, execute

pytestmark = pytest.mark.slow


def test_a_runs_budget_is_set_shown_and_raised(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="none")["runId"]
    assert "none" in interlock("budget", "show", run).stdout
    for amount, micros in (("0.25", "250000"), ("2.5", "2500000")):
        interlock("budget", "set", amount, "--run", run, "--calls", "7")
        budget = interlock.json("budget", "show", run)
        assert (budget["maxCostMicros"], str(budget["maxModelCalls"])) == (micros, "7")
    interlock("run", "cancel", run)
    assert "RUN_WRONG_STATE" in interlock("budget", "set", "3", "--run", run, "-o", "json", code=1).stderr


def test_a_shared_budget_is_listed_raised_and_removed(interlock: Installation) -> None:
    def known() -> dict[str, str]:
        listed = interlock.json("budget", "list")["budgets"]
        return {each["key"]: each["maxCostMicros"] for each in listed if each["key"] == "ada"}

    interlock("budget", "set", "1", "--caller", "ada", "--unpriced-call", "0.02")
    assert known() == {"ada": "1000000"}
    interlock("budget", "set", "$3.5", "--caller", "ada")
    assert known() == {"ada": "3500000"}
    table = interlock("budget", "list").stdout
    assert "ada" in table
    assert "3.5" in table
    interlock("budget", "remove", "--caller", "ada")
    assert known() == {}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["1"], "budget"),
        (["1", "--caller", "a", "--run", "run-1"], "budget"),
        (["--caller", "a", "--", "-1"], "amount"),
        (["0.0000001", "--caller", "a"], "amount"),
        (["much", "--caller", "a"], "amount"),
        (["1", "--caller", "a", "--calls", "3"], "calls"),
    ],
)
def test_what_is_no_budget_is_refused(interlock: Installation, arguments: list[str], field: str) -> None:
    assert field in interlock("budget", "set", "-o", "json", *arguments, code=2).stderr
