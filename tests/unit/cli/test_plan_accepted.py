"""A plan that is accepted can be made a run of; one that is not says why, and where, however it came to be wrong."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.driven_run import DrivenRun
from tests.unit.common.plan.test_dump import plans

from interlock.cli.plans import check_for_run
from interlock.client import run_request
from interlock.common.errors import Reason
from interlock.common.interceptors.validation import validate
from interlock.common.plan import Plan, Problem, to_data
from interlock.common.plan.wire import step_spec
from interlock.orchestrator.convert import inputs
from interlock.planner.domain.meaning import read_plan
from interlock.planner.domain.model import PlanTask

ONCE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate]
)
"""Failing plans are small enough as they are found, and making them smaller takes minutes."""

PLACE = re.compile(r"(goal|steps|policy|budget|labels|version|\w+)((\.[\w$/:. -]*)|(\[\d+\]))*", re.DOTALL)

words = st.sampled_from(
    ["goal", "steps", "policy", "budget", "labels", "gate", "name", "retries", "path", "patch", "new_content", "argv",
     "instruction", "context_keys", "command", "timeout", "network", "secrets", "env", "read_file", "run_command", "x"]
)  # fmt: skip
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "none", "step-1", "step-99", "/etc/passwd", "../x", "a\0b", "5s", "\ud800", "x" * 5000]
    ),
    st.lists(st.integers(0, 1), max_size=2),
    st.dictionaries(words, st.integers(0, 1), max_size=2),
)


def places(data: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the document itself first."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """The data of a valid plan, with one to three things put in, taken out or replaced."""
    data = copy.deepcopy(to_data(draw(plans())))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(data)[1:] or [("steps",)]))
        holder = data
        for key in way:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del holder[last]
        elif change == "replace" or not isinstance(holder, dict):
            holder[last] = draw(junk)
        else:
            holder[draw(words)] = draw(junk)
        if not data:
            break
    return data


def make(plan: Plan) -> None:
    """What making a run of it does, from the message to the journal's first events."""
    request = run_request(plan, "ws-00000000000000000000000000")
    request.request_id = "r"
    validate(request)
    specs, _ = inputs.specs(request.steps)
    driven = DrivenRun(specs, policy=inputs.policy(request.policy), budget=inputs.budget(request.budget))
    assert len(driven.run.steps) == len(plan.steps)


def told(problems: tuple[Problem, ...]) -> None:
    """Each with a reason and words, all but those about the whole document with their place."""
    assert problems
    for each in problems:
        assert each.reason in Reason
        assert each.message
        assert len(each.text()) < 5_000
        assert not each.field or PLACE.fullmatch(each.field), each.field


@ONCE
@given(st.one_of(plans().map(to_data), mutated()))
def test_a_plan_is_accepted_and_can_be_made_or_is_refused_with_its_place(data: Any) -> None:
    plan, problems = check_for_run(json.dumps(data, default=float).encode())
    if plan is None:
        told(problems)
    else:
        assert problems == ()
        make(plan)


@ONCE
@given(mutated())
def test_what_a_model_plans_is_accepted_and_can_be_added_or_is_refused_with_its_place(data: Any) -> None:
    answer = {"steps": data.get("steps")} if isinstance(data, dict) else data
    steps, problems = read_plan(answer, PlanTask("try"))
    if problems:
        assert steps == ()
        told(problems)
    else:
        DrivenRun(inputs.specs([step_spec(step) for step in steps])[0])
