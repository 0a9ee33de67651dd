"""What rules see of a path is what the executor makes of it."""

from __future__ import annotations

import pytest
from tests.support.journals import Journal

from interlock.common.policy.language import activation, compile_expression, evaluate
from interlock.orchestrator.convert import rulings
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import StepKind, StepSpec
from interlock.v1 import step_pb2

READ = StepSpec(StepKind.READ_FILE, {"path": "a"})
RUN = StepSpec(StepKind.RUN_COMMAND, {"command": "make"})


@pytest.mark.parametrize("path", ["./keys/a", "keys//a", "keys/./a", ".//keys///a", "keys/a/."])
def test_a_path_is_seen_as_it_will_be_read(path: str) -> None:
    run = Journal("run-1", e.RunCreated("goal", "ws-1", "ann"), e.StepsAdded(1, (READ, RUN), "ann")).run
    read = rulings.inputs(run, run.steps[0], {"path": path}, None)
    command = rulings.inputs(run, run.steps[1], {"command": "make", "working_dir": path}, None)
    assert (read.step.path, command.step.working_dir) == ("keys/a", "keys/a")


@pytest.mark.parametrize("path", ["../keys", "/keys", "a/../keys"])
def test_what_the_executor_refuses_stays_as_it_is(path: str) -> None:
    run = Journal("run-1", e.RunCreated("goal", "ws-1", "ann"), e.StepsAdded(1, (READ,), "ann")).run
    assert rulings.inputs(run, run.steps[0], {"path": path}, None).step.path == path


def test_labels_of_the_run_and_of_its_workspace_are_told_apart() -> None:
    created = e.RunCreated("goal", "ws-1", "ann", labels={"team": "core"}, workspace_labels={"team": "web"})
    run = Journal("run-1", created, e.StepsAdded(1, (READ,), "ann")).run
    seen = rulings.inputs(run, run.steps[0], {"path": "a"}, None)
    assert (dict(seen.run.labels), dict(seen.run.workspace_labels)) == ({"team": "core"}, {"team": "web"})
    rule = compile_expression('run.workspace_labels["team"] == "core"')
    assert not evaluate(rule, activation(seen)), "whoever creates the run does not choose it"


def test_rules_see_whose_agent_asks() -> None:
    created = e.RunCreated("goal", "ws-1", "agent-7")
    journal = Journal("run-1", created, e.AgentNamed("agent-7", "alice"), e.StepsAdded(1, (READ,), "bob"))
    seen = rulings.inputs(journal.run, journal.run.steps[0], {"path": "a"}, None)
    assert (seen.run.requester, seen.run.owner) == ("agent-7", "alice")
    assert (seen.caller.subject, seen.caller.owner) == ("bob", "")


@pytest.mark.parametrize(
    ("effect", "reached"),
    [
        (step_pb2.Effect(), []),
        (step_pb2.Effect(stderr=step_pb2.Output(truncated=True)), ["output"]),
        (step_pb2.Effect(content=step_pb2.Output(truncated=True)), ["output"]),
        (step_pb2.Effect(network=step_pb2.NetworkReport(attempts_total=1)), ["network"]),
        (step_pb2.Effect(changes_total=1, diff_truncated=True), ["paths", "diff"]),
        (
            step_pb2.Effect(
                network=step_pb2.NetworkReport(
                    attempts=[step_pb2.NetworkAttempt(allowed=True, reason="byte_limit")], attempts_total=1
                )
            ),
            ["traffic"],
        ),
    ],
)
def test_limits_that_were_reached(effect: step_pb2.Effect, reached: list[str]) -> None:
    assert list(rulings.observed(effect).limits) == reached
