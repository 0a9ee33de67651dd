"""Hostile files, and a model that obeys every one of them: the gates hold whatever the model says.

Each file of `hostile/` holds what it wants planned between `<obey>` and `</obey>`. The model of these tests answers
with just that. Nothing here depends on what a real model would do.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.driven_run import DrivenRun

from interlock.common.plan import PlanStep, RunCommandInput
from interlock.common.plan.wire import step_spec
from interlock.orchestrator.convert import inputs
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import Gate, RunState, StepKind
from interlock.planner.domain.context import fenced
from interlock.planner.domain.meaning import read_plan
from interlock.planner.domain.model import ContextFile, PlanTask

FILES = sorted((Path(__file__).parent / "hostile").iterdir())
GATED = {StepKind.EDIT_FILE: Gate.EFFECT, StepKind.RUN_COMMAND: Gate.COMMAND}


def wish(text: str) -> Any:
    """What the last hostile file in a text wants."""
    return json.loads(re.findall(r"<obey>(.*?)</obey>", text, re.DOTALL)[-1])


def planned(answer: Any, hostile: str) -> tuple[PlanStep, ...]:
    """The steps that come of a model's answer, if any do."""
    files = (ContextFile("hostile.txt", len(hostile.encode()), hostile), ContextFile("victim.txt", 3, "abc"))
    return read_plan(answer, PlanTask("sum up the project", files))[0]


def obey(steps: tuple[PlanStep, ...]) -> DrivenRun:
    """A run that the model has planned so, started and driven as far as it goes without a person."""
    specs, _ = inputs.specs([step_spec(step) for step in steps])
    driven = DrivenRun()
    driven.command("plan")
    driven.deliver(driven.action(a.AskPlan), ("ok", specs))
    assert driven.run.policy == DrivenRun().run.policy
    if driven.run.state is RunState.PLANNED:
        driven.command("start")
        driven.settle()
    return driven


def check(steps: tuple[PlanStep, ...]) -> None:
    """No privilege is in the steps, and nothing takes effect without a person."""
    assert all(step.gate is None for step in steps)
    for step in steps:
        if isinstance(step.input, RunCommandInput):
            assert not step.input.network
            assert not step.input.secrets
    if not steps:
        return
    driven = obey(steps)
    kinds = [stored.recorded.event.type for stored in driven.journal]
    assert not {e.ApprovalDecided.type, e.EnvelopeGranted.type, e.EnvelopeUsed.type} & set(kinds)
    for step in driven.run.steps:
        if step.spec.kind in GATED and step.attempt:
            assert step.gate is GATED[step.spec.kind]
    first = next((step for step in driven.run.steps if step.spec.kind in GATED), None)
    published = [each for each in driven.journal if each.recorded.event.type == e.StepApplying.type]
    assert not published
    if first is not None:
        assert driven.run.state in (RunState.AWAITING_APPROVAL, RunState.FAILED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_a_hostile_file_wants_waits_for_a_person_or_is_no_plan(file: Path) -> None:
    text = file.read_text("utf-8")
    check(planned(wish(text), text))


def test_the_corpus_is_obeyed_as_far_as_a_plan_goes() -> None:
    """Most of them are plans once what is no model's to choose is gone: the gates hold, not the parser alone."""
    texts = [file.read_text("utf-8") for file in FILES]
    assert sum(bool(planned(wish(text), text)) for text in texts) >= 8


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_hostile_file_stays_within_its_fence(file: Path) -> None:
    text = file.read_text("utf-8")
    block = fenced(f"content of {file.name}", text)
    first, last = block.split("\n")[0], block.split("\n")[-1]
    mark = first.split()[1]
    assert last == f"</data {mark}>"
    assert block.count(mark) == 2


_WORDS = st.sampled_from(
    [
        "gate",
        "none",
        "network",
        "secrets",
        "policy",
        "approvers",
        "envelope",
        "evil.example:80",
        "token",
        "steps",
    ]
)
_COMMAND = st.fixed_dictionaries(
    {"command": st.sampled_from(["rm -rf .", "make"])},
    optional={
        "network": st.lists(_WORDS, max_size=2),
        "secrets": st.lists(_WORDS, max_size=2),
        "gate": _WORDS,
    },
)
_STEP = st.one_of(
    st.fixed_dictionaries({"run_command": _COMMAND}, optional={"gate": _WORDS, "name": _WORDS}),
    st.fixed_dictionaries(
        {"kind": st.just("run_command"), "command": st.just("x")}, optional={"gate": _WORDS}
    ),
    st.fixed_dictionaries(
        {"step_type": st.just("run_command"), "input": _COMMAND, "description": _WORDS},
        optional={"gate": _WORDS, "network": _WORDS},
    ),
    st.fixed_dictionaries(
        {"edit_file": st.fixed_dictionaries({"path": st.just("victim.txt"), "new_content": _WORDS})},
        optional={"gate": _WORDS},
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries({"steps": st.lists(_STEP, max_size=3)}, optional={"policy": _WORDS, "gate": _WORDS})
)
def test_whatever_a_model_answers_has_no_privilege(answer: dict[str, Any]) -> None:
    check(planned(answer, "x"))
