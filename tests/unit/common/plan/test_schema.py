from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from interlock.common.plan import StepKind, plan_schema, problems_in_data
from interlock.common.plan.schema import render

VALIDATOR = Draft202012Validator(plan_schema())
PUBLISHED = Path(__file__).parents[4] / "docs" / "plan.schema.json"


def test_the_published_schema_is_the_generated_one() -> None:
    assert PUBLISHED.read_text() == render(), "run: python -m interlock.common.plan > docs/plan.schema.json"


def test_the_schema_is_valid_and_every_property_is_described() -> None:
    schema = plan_schema()
    Draft202012Validator.check_schema(schema)
    for kind in StepKind:
        for name, field in schema["$defs"][kind.value]["properties"].items():
            assert field["description"], f"{kind.value}.{name}"


def one(step: object, **top: object) -> dict[str, Any]:
    return {"goal": "g", "steps": [step], **top}


def command(**fields: object) -> dict[str, Any]:
    return one({"run_command": {"command": "x", **fields}})


GOOD: list[object] = [
    one({"read_file": {"path": "a"}}),
    one({"read_file": {"path": "a/..b/c", "start_line": 1, "end_line": 2.0}}),
    one({"analyze": {"instruction": "x", "context_keys": []}}),
    one({"edit_file": {"path": "a", "new_content": ""}}),
    one({"edit_file": {"path": "a", "patch": "x"}, "gate": "both", "retries": 10, "on_failure": "stop"}),
    one({"edit_file": {"path": "a", "instruction": "x"}, "name": ""}),
    one({"summarize": None}),
    one({"summarize": {}}),
    command(timeout=0.5),
    command(timeout="24h"),
    command(network={"hosts": ["h:1"]}),
    command(network={"hosts": []}),
    command(env={"A": ""}, network=["h:1"], allowed_exit_codes=[0, 255], working_dir="."),
    one({"run_command": {"argv": [""]}}),
    command(secrets={"TOKEN": "deploy-token", "/run/secrets/a.key": "9.k"}),
    command(secrets=["deploy-token", "b"]),
    command(secrets=[]),
    one({"summarize": {}}, policy="balanced", budget=0.000001, labels={"a/b": ""}),
    one({"summarize": {}}, policy={}, budget={}),
    one(
        {"summarize": {}},
        policy={"edit_file_gate": "none", "approval_timeout": 1},
        budget={"usd": 1, "model_calls": 1},
    ),
]
BAD: list[object] = [
    command(secrets="deploy-token"),
    command(secrets=["9k"]),
    command(secrets=["a", "a"]),
    command(secrets=[f"s{number}" for number in range(17)]),
    command(secrets={"TOKEN": ""}),
    command(secrets={"TOKEN": "../x"}),
    command(secrets={"/run/secrets/../x": "a"}),
    command(secrets={"/etc/passwd": "a"}),
    command(secrets={"1A": "a"}),
    command(secrets={"TOKEN": {"value": "x"}}),
    None, [], "x", {}, {"goal": "g"}, {"steps": [{"summarize": {}}]}, {"goal": "", "steps": [{"summarize": {}}]},
    {"goal": "g", "steps": []}, {"goal": "g", "steps": {}}, one({}), one("x"), one(None), one({"name": "x"}),
    one({"unknown": {}}), one({"summarize": {}, "read_file": {"path": "a"}}), one({"summarize": {}, "extra": 1}),
    one({"read_file": None}), one({"read_file": {"path": 1}}), one({"read_file": {"path": ""}}),
    one({"read_file": {"path": "/a"}}), one({"read_file": {"path": "a/.."}}), one({"read_file": {"path": "../a"}}),
    one({"read_file": {"path": "a", "start_line": 0}}), one({"read_file": {"path": "a", "start_line": True}}),
    one({"read_file": {"path": "a", "start_line": 1.5}}), one({"read_file": {"path": "a", "start_line": 2**31}}),
    one({"analyze": {}}), one({"analyze": {"instruction": ""}}),
    one({"analyze": {"instruction": "x", "context_keys": ["a"]}}),
    one({"analyze": {"instruction": "x" * 100_001}}), one({"analyze": {"instruction": "x", "context_keys": None}}),
    one({"edit_file": {"path": "a"}}), one({"edit_file": {"path": "a", "patch": "x", "new_content": ""}}),
    one({"edit_file": {"path": "a", "patch": ""}}), one({"run_command": {}}), one({"run_command": {"argv": []}}),
    one({"run_command": {"argv": [1]}}), one({"run_command": {"command": "x", "argv": ["x"]}}),
    command(timeout=0), command(timeout="x"), command(timeout=86401), command(timeout=True), command(env=[]),
    command(env={"1": "x"}), command(env={"A": 1}), command(network=["h"]), command(network={}),
    command(network={"hosts": ["h"]}), command(network={"hosts": [], "x": 1}),
    command(network={"host": []}), command(network="h:1"),
    command(allowed_exit_codes=[256]), command(working_dir="/"), one({"summarize": {}, "gate": None}),
    one({"summarize": {}, "retries": -1}), one({"summarize": {}, "on_failure": "x"}),
    one({"summarize": {}}, policy=None), one({"summarize": {}}, policy={"x": 1}), one({"summarize": {}}, budget=0),
    one({"summarize": {}}, budget="1"), one({"summarize": {}}, budget={"usd": 0}), one({"summarize": {}}, budget=True),
    one({"summarize": {}}, labels={"": "x"}), one({"summarize": {}}, labels={"a": 1}), one({"summarize": {}}, other=1),
]  # fmt: skip


@pytest.mark.parametrize("document", GOOD, ids=range(len(GOOD)))
def test_schema_and_parser_accept_the_same(document: object) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert problems_in_data(document)[1] == ()


@pytest.mark.parametrize("document", BAD, ids=range(len(BAD)))
def test_schema_and_parser_refuse_the_same(document: object) -> None:
    assert not VALIDATOR.is_valid(document)
    assert problems_in_data(document)[1]


MEANING: list[object] = [
    one({"analyze": {"instruction": "x", "context_keys": ["step-1"]}}),
    one({"read_file": {"path": "a", "start_line": 3, "end_line": 2}}),
    one({"read_file": {"path": "é" * 4000}}),
    command(timeout="25h"),
    one({"summarize": {"instruction": "a\0b"}}),
]


@pytest.mark.parametrize("document", MEANING, ids=range(len(MEANING)))
def test_what_only_the_parser_can_know_is_refused_by_it_alone(document: object) -> None:
    assert VALIDATOR.is_valid(document)
    assert problems_in_data(document)[0] is None


keys = st.sampled_from(
    ["goal", "steps", "policy", "budget", "labels", "read_file", "analyze", "edit_file", "run_command", "summarize",
     "path", "instruction", "context_keys", "patch", "new_content", "command", "argv", "timeout", "env", "gate", "name"]
)  # fmt: skip
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.sampled_from(["", "a", "step-1", "/a", "none", "5s", "a/../b"]),
)
junk = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4))
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        junk, junk.map(one), st.dictionaries(keys, junk, max_size=4).map(lambda s: one({"run_command": s}))
    )
)
def test_whatever_the_schema_refuses_the_parser_refuses_with_a_typed_problem(document: object) -> None:
    plan, problems = problems_in_data(document)
    assert (plan is None) == bool(problems)
    if not VALIDATOR.is_valid(document):
        assert plan is None
    elif plan is None:  # the parser may only be stricter by meaning
        assert all("not before this step" in p.message or "start_line" in p.message for p in problems)
    json.dumps([problem.text() for problem in problems])
