"""No order in which two orchestrators, an executor and a person act on one run breaks a law (run_explorer)."""

from __future__ import annotations

import pytest
from tests.support.driven_run import spec
from tests.support.run_explorer import explore

from interlock.orchestrator.domain.model import Gate, Policy, StepSpec

FREE = Policy(edit_file_gate=Gate.NONE, run_command_gate=Gate.NONE)

PLANS: dict[str, tuple[list[StepSpec], Policy]] = {
    "free edit": ([spec("edit_file")], FREE),
    "gated edit": ([spec("edit_file")], Policy()),
    "gated command": ([spec()], Policy()),
    "both gates": ([spec(gate="both")], Policy()),
    "two edits": ([spec("edit_file"), spec("edit_file")], FREE),
    "network": ([spec(command="curl", network=["example.com"])], Policy()),
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_orders_of_a_short_run(name: str) -> None:
    steps, policy = PLANS[name]
    found = explore(steps, policy=policy, depth=9, people=1, most=120)
    assert found.fenced > 10, "owners that are late are among them"
    assert found.worlds >= 100


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(PLANS))
def test_orders_of_a_long_run(name: str) -> None:
    steps, policy = PLANS[name]
    found = explore(steps, policy=policy, depth=20, people=2, most=20_000)
    assert {"CANCELLED"} <= found.ended
    assert found.worlds > 10_000
