"""Path, query and body to a message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.api import catalog
from interlock.gateway.api.methods import Binding, Method
from interlock.gateway.domain.template import parse
from interlock.gateway.transcode.request import build
from interlock.gateway.transcode.response import to_json
from interlock.v1 import step_pb2

METHODS = {method.full_name.removeprefix("interlock.v1."): method for method in catalog.methods()}


def made(name: str, variables: dict[str, str] | None = None, query: Any = (), body: Any = None) -> Any:
    method = METHODS[name]
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return build(method, method.bindings[0], variables or {}, query, raw)


def refused(
    name: str, variables: dict[str, str] | None = None, query: Any = (), body: Any = None
) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        made(name, variables, query, body)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert len(str(caught.value)) < 700
    return caught.value


def test_variables_of_a_path_name_fields() -> None:
    found = made("Executor.GetEffect", {"key.run_id": "run-1", "key.step": "2", "key.attempt": "3"})
    assert (found.key.run_id, found.key.step, found.key.attempt) == ("run-1", 2, 3)


def test_a_query_names_every_other_field() -> None:
    query = [
        ("filter.run_id", "run-1"), ("filter.kinds", "STEP_KIND_ANALYZE"), ("filter.kinds", "4"),
        ("filter.labels[team a]", "x=y"), ("pageSize", "7"), ("states", "APPROVAL_STATE_PENDING"),
    ]  # fmt: skip
    found = made("Approval.ListApprovals", query=query)
    assert found.filter.run_id == "run-1"
    assert list(found.filter.kinds) == [step_pb2.STEP_KIND_ANALYZE, step_pb2.STEP_KIND_RUN_COMMAND]
    assert dict(found.filter.labels) == {"team a": "x=y"}
    assert found.page_size == 7
    assert made("Orchestrator.GetRun", {"run_id": "r"}, [("without_steps", "true")]).without_steps


def test_a_body_is_everything_that_the_path_does_not_name() -> None:
    body = {"steps": [{"input": {"editFile": {"path": "a", "new_content": "b"}}}], "requestId": "1"}
    found = made("Orchestrator.AddSteps", {"run_id": "run-1"}, body=body)
    assert (found.run_id, found.request_id, found.steps[0].input.edit_file.new_content) == ("run-1", "1", "b")
    assert made("Orchestrator.StartRun", {"run_id": "run-1"}).run_id == "run-1"


@pytest.mark.parametrize("spelling", ["run_id", "runId"])
def test_a_body_may_repeat_the_path_and_not_contradict_it(spelling: str) -> None:
    assert made("Orchestrator.StartRun", {"run_id": "a"}, body={spelling: "a"}).run_id == "a"
    assert refused("Orchestrator.StartRun", {"run_id": "a"}, body={spelling: "b"}).field == "run_id"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ([("nope", "1")], "nope"),
        ([("filter", "{}")], "filter"),
        ([("filter.nope", "1")], "filter.nope"),
        ([("filter.labels", "x")], "filter.labels"),
        ([("filter.run_id[x]", "1")], "filter.run_id[x]"),
        ([("filter.run_id", "1"), ("filter.runId", "2")], "filter.runId"),
        ([("filter.labels[a]", "1"), ("filter.labels[a]", "2")], "filter.labels[a]"),
        ([("page_size", "many")], "page_size"),
        ([("page_size", "1e3")], "page_size"),
        ([("states", "PENDING")], "states"),
        ([("states", "99")], "states"),
        ([("", "1")], ""),
        ([("a" * 5000, "1")], "a" * 160),
    ],
)
def test_a_parameter_that_is_none_is_named(query: list[tuple[str, str]], field: str) -> None:
    assert refused("Approval.ListApprovals", query=query).field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (b'{"goal": NaN}', "body"),
        (b'{"goal": "a", "goal": "b"}', "body"),
        (b"[" * 100_000, "body"),
        (b'{"labels": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}", ""),
        (b"1" * 10_000, "body"),
        (b'{"goal": "\\ud800"}', None),
        ({"nope": 1}, "nope"),
        ({"steps": [{"input": {"nope": {}}}]}, "steps[0].input.nope"),
        ({"goal": 1}, "goal"),
        ({"start": "yes"}, "start"),
        ({"onBusy": "SOMETIMES"}, "onBusy"),
        ({"budget": {"maxModelCalls": 1.5}}, "budget.maxModelCalls"),
        ({"budget": {"maxModelCalls": 2**40}}, "budget.maxModelCalls"),
        ({"steps": {"a": 1}}, "steps"),
        ({"labels": {"a": {}}}, None),
        ({"policy": {"approvalTimeout": "soon"}}, "policy.approvalTimeout"),
        ({"steps": [{"input": {"readFile": {"path": "a"}, "analyze": {"instruction": "b"}}}]}, None),
    ],
)
def test_a_body_that_does_not_fit_is_refused_where_it_does_not(body: Any, field: str | None) -> None:
    error = refused("Orchestrator.CreateRun", body=body)
    assert "Traceback" not in error.message
    if field:
        assert error.field == field


def test_what_belongs_elsewhere_is_refused() -> None:
    assert refused("Orchestrator.CreateRun", query=[("goal", "x")], body={}).field == "goal"
    assert refused("Orchestrator.GetRun", {"run_id": "a"}, body={"run_id": "a"}).field == "body"
    assert refused("Orchestrator.GetStep", {"run_id": "a", "step": "one"}).field == "step"


def test_a_body_can_be_one_field_and_a_response_one_of_its_fields() -> None:
    create = METHODS["Orchestrator.CreateRun"]
    binding = Binding("POST", parse("/x/{workspace_id}"), body="policy", response_body="run")
    found: Any = build(create, binding, {"workspace_id": "w"}, [("goal", "g")], b'{"name": "strict"}')
    assert (found.workspace_id, found.goal, found.policy.name) == ("w", "g", "strict")
    answer: Any = Method.response(create, b"")
    answer.run.run_id = "run-1"
    assert to_json(answer, "run") == b'{"runId":"run-1"}'
    assert to_json(Method.response(create, b""), "run") == b"{}"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["goal", "steps", "input", "labels", "policy", "readFile", "x", "budget"]),
                        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_whatever_json_comes_there_is_a_message_or_a_typed_error(document: Any) -> None:
    try:
        found = made("Orchestrator.CreateRun", body=document)
    except InterlockError as error:
        found = error.reason
    assert found is Reason.INVALID_ARGUMENT or found.DESCRIPTOR.name == "CreateRunRequest"
