from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from interlock.planner.domain import schemas
from interlock.planner.domain.meaning import feedback_text, read_plan
from interlock.planner.domain.model import ContextFile, ContextResult, PlanTask
from interlock.planner.domain.replies import NoSteps, steps_data
from interlock.planner.gateways.money import count_of, micros_of_dollars
from interlock.planner.gateways.replies import NotJson, find_json, read_json

TASK = PlanTask("g", (ContextFile("src/a.py"), ContextFile("README.md")), max_steps=5)


@pytest.mark.parametrize(
    ("reply", "steps"),
    [
        (
            {"steps": [{"kind": "read_file", "name": "n", "path": "a"}]},
            [{"read_file": {"path": "a"}, "name": "n"}],
        ),
        ([{"read_file": {"path": "a"}}], [{"read_file": {"path": "a"}}]),
        ({"plan": {"steps": [{"summarize": {}}]}}, [{"summarize": {}}]),
        ({"data": [{"summarize": {}}]}, [{"summarize": {}}]),
        ({"kind": "summarize", "instruction": "x"}, [{"summarize": {"instruction": "x"}}]),
        ({"analyze": {"instruction": "x"}}, [{"analyze": {"instruction": "x"}}]),
        (
            [{"kind": "edit_file", "path": "a", "new_content": ""}],
            [{"edit_file": {"path": "a", "new_content": ""}}],
        ),
        (
            [{"kind": "edit_file", "path": "a", "new_content": "x", "instruction": "y", "patch": None}],
            [{"edit_file": {"path": "a", "new_content": "x"}}],
        ),
        (
            [{"kind": "summarize", "instruction": "x", "context_keys": []}],
            [{"summarize": {"instruction": "x"}}],
        ),
        (
            [{"step_type": "read_file", "input": "a", "description": "d"}],
            [{"read_file": {"path": "a"}, "name": "d"}],
        ),
        ([{"step_type": "run_command", "input": "make"}], [{"run_command": {"command": "make"}}]),
        ([{"step_type": "run_command", "input": ["a", "b"]}], [{"run_command": {"argv": ["a", "b"]}}]),
        (
            [{"step_type": "edit_file", "input": "a", "description": "do it"}],
            [{"edit_file": {"path": "a", "instruction": "do it"}, "name": "do it"}],
        ),
        (
            [{"step_type": "edit_file", "input": {"path": "a", "new_content": "x"}, "description": "d"}],
            [{"edit_file": {"path": "a", "new_content": "x"}, "name": "d"}],
        ),
        (
            [{"step_type": "analyze", "input": "", "description": "why?"}],
            [{"analyze": {"instruction": "why?"}, "name": "why?"}],
        ),
        ([{"kind": "summarize", "gate": "none"}], [{"summarize": {}}]),
        (
            [{"run_command": {"command": "x", "network": ["h:1"], "secrets": ["s"]}}],
            [{"run_command": {"command": "x"}}],
        ),
        (["text", 7], ["text", 7]),
    ],
)
def test_each_form_of_reply_is_read(reply: object, steps: object) -> None:
    assert steps_data(reply) == steps


def test_the_tiny_models_form_is_read_in_a_sensible_order() -> None:
    form = {
        "commands": ["ls -la"],
        "edits": [{"path": "a", "instruction": "x"}],
        "question": "Why?",
        "read_files": ["a", "b", "a"],
        "summary": "Say it.",
    }
    kinds = [next(iter(step)) for step in steps_data(form)]
    assert kinds == ["read_file", "read_file", "analyze", "edit_file", "run_command", "summarize"]


@pytest.mark.parametrize("reply", [None, "text", 7, {}, {"a": 1}, {"steps": "x"}, {"steps": None}])
def test_a_reply_without_steps_says_so(reply: object) -> None:
    with pytest.raises(NoSteps):
        steps_data(reply)
    steps, problems = read_plan(reply, TASK)
    assert steps == ()
    assert "no list of steps" in problems[0].message


def reasons(*steps: dict[str, Any], task: PlanTask = TASK) -> list[str]:
    return [
        f"{problem.reason.value} {problem.field}" for problem in read_plan({"steps": list(steps)}, task)[1]
    ]


def edit(path: str, **change: str) -> dict[str, Any]:
    return {"edit_file": {"path": path, **(change or {"instruction": "x"})}}


def read(path: str) -> dict[str, Any]:
    return {"read_file": {"path": path}}


def test_paths_must_exist_or_be_made_before() -> None:
    assert reasons(read("src/a.py"), read("./README.md")) == []
    assert reasons(read("b.py")) == ["PATH_NOT_FOUND steps[0].read_file.path"]
    assert reasons(edit("b.py"), read("b.py")) == []
    assert reasons(edit("b.py", patch="@@ -1 +1 @@\n-a\n+b\n")) == ["PATH_NOT_FOUND steps[0].edit_file.path"]
    assert reasons(read("b.py"), edit("b.py")) == ["PATH_NOT_FOUND steps[0].read_file.path"]
    assert reasons({"run_command": {"command": "make"}}, read("generated.py")) == []
    assert reasons(read("b.py"), {"run_command": {"command": "x"}}) == [
        "PATH_NOT_FOUND steps[0].read_file.path"
    ]
    assert reasons(read("src")) == ["PATH_IS_DIRECTORY steps[0].read_file.path"]
    assert reasons(edit("src")) == ["PATH_IS_DIRECTORY steps[0].edit_file.path"]
    assert reasons(read("../x")) == ["PATH_OUTSIDE_WORKSPACE steps[0].read_file.path"]
    assert reasons(read("anything"), task=PlanTask("g")) == []


def test_plans_are_bounded_and_not_empty() -> None:
    assert reasons(*[{"summarize": {}}] * 6) == ["PLAN_INVALID steps"]
    assert reasons() == ["RUN_EMPTY_PLAN steps"]


def test_context_keys_count_the_steps_that_ended() -> None:
    ended = (ContextResult("step-4", "read_file"),)
    step = {"analyze": {"instruction": "x", "context_keys": ["step-4"]}}
    later = {"analyze": {"instruction": "x", "context_keys": ["step-5"]}}
    task = PlanTask("g", results=ended, feedback="f")
    assert reasons(step, task=task) == []
    assert reasons(later, task=task) == ["PLAN_INVALID steps[0].analyze.context_keys[0]"]
    assert reasons(step) == ["PLAN_INVALID steps[0].analyze.context_keys[0]"]
    assert read_plan({"steps": []}, task) == ((), ())


def test_feedback_lists_problems_with_fixes_and_is_bounded() -> None:
    problems = read_plan({"steps": [{"kind": "read_fil", "path": "a"}] * 50}, PlanTask("g", max_steps=100))[1]
    text = feedback_text(problems)
    assert "Did you mean read_file?" in text
    assert len(text.splitlines()) == 13
    assert "and 38 more problems" in text


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5), st.sampled_from(schemas.KINDS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["steps", "plan", "kind", "step_type", "input", "description", "path", "instruction",
                             "command", "summary", "read_files", "edits", "commands", "question", "analyze", "name"]),
            inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(json_values)
def test_whatever_a_model_says_is_a_valid_plan_or_has_problems(reply: object) -> None:
    steps, problems = read_plan(reply, TASK)
    assert bool(steps) != bool(problems)
    assert all(step.gate is None for step in steps)
    assert feedback_text(problems) or steps


def test_schemas_are_schemas_and_their_answers_are_plans() -> None:
    for schema in (
        schemas.rich_schema(5),
        schemas.router_schema(),
        schemas.draft_schema(False),
        schemas.draft_schema(True),
    ):
        Draft202012Validator.check_schema(schema)
        json.dumps(schema)
    for most in range(1, 8):
        for paths in ([], ["src/a.py"], ["src/a.py", "README.md"]):
            form = schemas.tiny_schema(paths, ["ls -la"], most)
            Draft202012Validator.check_schema(form)
            fullest = {name: _fullest(field) for name, field in form["properties"].items()}
            assert Draft202012Validator(form).is_valid(fullest)
            steps, problems = read_plan(fullest, PlanTask("g", TASK.files, max_steps=most))
            assert (len(steps) <= most, problems) == (True, ())


def _fullest(field: dict[str, Any]) -> Any:
    if field["type"] == "array":
        return [_fullest(field["items"])] * field["maxItems"]
    if field["type"] == "object":
        return {name: _fullest(inner) for name, inner in field["properties"].items()}
    if "enum" in field:
        return field["enum"][0]
    return "Why is this so in the code?" if "Why" in field["pattern"] else "Add a sentence to the file."


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", [1]),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure:\n```\n[1]\n```\nAnything else?', [1]),
        ('Here it is: {"a": {"b": "}"}} and more', {"a": {"b": "}"}}),
        ('<think>{"x": 1} no wait</think>\n{"a": 1}', {"a": 1}),
        ('I chose [sic] this: {"a": 1}', {"a": 1}),
        ('{"cost": 0.1}', {"cost": Decimal("0.1")}),
    ],
)  # fmt: skip
def test_json_is_found_in_prose(text: str, data: object) -> None:
    assert find_json(text) == data


@pytest.mark.parametrize("text", ["", "hello", '{"a": ', "[NaN]", "7", '"x"', "[" * 50_000, "{}" * 0 + "{]"])
def test_text_without_json_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        find_json(text)


def test_numbers_too_long_are_not_json() -> None:
    with pytest.raises(NotJson):
        read_json("9" * 10_000)


@given(st.text(max_size=300))
def test_finding_json_never_fails_otherwise(text: str) -> None:
    try:
        found = find_json(text)
    except NotJson:
        return
    assert isinstance(found, (dict, list))


@pytest.mark.parametrize(
    ("dollars", "micros"),
    [
        (Decimal("0.000001"), 1), (Decimal("0.0000001"), 1), (Decimal("1.1"), 1_100_000), (0, 0), ("0.5", 500_000),
        (None, None), ("", None), ("x", None), (True, None), (1.5, None), (Decimal("NaN"), None),
        (Decimal("-1"), None), (Decimal("Infinity"), None), (Decimal("1e30"), None), ([], None),
    ],
)  # fmt: skip
def test_dollars_become_micros_and_the_unknown_stays_unknown(dollars: object, micros: int | None) -> None:
    assert micros_of_dollars(dollars) == micros


@given(st.integers(0, 10**9))
def test_micros_are_exact(micros: int) -> None:
    assert micros_of_dollars(read_json(f"{Decimal(micros) / 1_000_000:f}")) == micros


def test_counts() -> None:
    assert [count_of(value) for value in (0, 7, -1, True, "7", None, 2**60)] == [
        0,
        7,
        None,
        None,
        None,
        None,
        None,
    ]
