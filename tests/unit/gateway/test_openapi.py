"""The OpenAPI document: valid, complete, and written from the protos' own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.api import catalog
from interlock.gateway.openapi.descriptions import describe, summary
from interlock.gateway.openapi.document import document
from interlock.gateway.openapi.operations import path_of
from interlock.gateway.problems import problem
from interlock.gateway.transcode.response import to_json
from interlock.v1 import orchestrator_pb2

METHODS = [method for method in catalog.methods() if method.bindings]


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document())
    return found


def schema(api: dict[str, Any], name: str) -> Draft202012Validator:
    """One component's schema, with the others within reach."""
    registry: Any = Registry().with_resource("urn:api", Resource(api, DRAFT202012))
    return Draft202012Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)


def test_a_validator_of_openapi_accepts_it(api: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(api).validate()


def test_a_validator_of_openapi_would_not_accept_anything(api: dict[str, Any]) -> None:
    broken = {**api, "paths": {**api["paths"], "/broken/{id}": {"get": {"responses": {}}}}}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
def test_every_rpc_is_there_with_its_words(api: dict[str, Any], method: Any) -> None:
    for binding in method.bindings:
        operation = api["paths"][path_of(binding)][binding.verb.lower()]
        assert operation["summary"]
        assert describe(method.full_name) in operation["description"]
        assert "default" in operation["responses"]
        bound = {variable.field for variable in binding.template.variables}
        assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == bound
        assert ("requestBody" in operation) == bool(binding.body)


def test_everything_has_a_description(api: dict[str, Any]) -> None:
    missing = [
        f"{name}.{field}"
        for name, each in api["components"]["schemas"].items()
        for field, inner in each.get("properties", {}).items()
        if not inner.get("description")
    ]
    assert missing == []
    assert api["components"]["schemas"]["Run"]["properties"]["goal"]["description"] == "What it is for."
    assert (
        "- `RUN_STATE_PAUSED`: A person, a budget" in api["components"]["schemas"]["RunState"]["description"]
    )


def test_operations_have_names_of_their_own(api: dict[str, Any]) -> None:
    names = [each["operationId"] for item in api["paths"].values() for each in item.values()]
    assert len(names) == len(set(names)) == sum(len(method.bindings) for method in METHODS)


def test_nested_fields_are_parameters_of_a_query(api: dict[str, Any]) -> None:
    found = {each["name"]: each for each in api["paths"]["/v1/approvals"]["get"]["parameters"]}
    assert {"filter.run_id", "filter.kinds", "filter.labels", "states", "page_size"} <= found.keys()
    assert found["filter.labels"]["style"] == "deepObject"
    assert found["filter.kinds"]["schema"]["items"] == {"$ref": "#/components/schemas/StepKind"}
    assert found["page_size"]["schema"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 0,
        "maximum": 1000,
    }


def test_rules_of_the_protos_are_in_the_schemas(api: dict[str, Any]) -> None:
    create = api["components"]["schemas"]["CreateRunRequest"]["properties"]
    assert (create["goal"]["minLength"], create["goal"]["maxLength"]) == (1, 20000)
    assert create["steps"]["maxItems"] == 10000
    start = api["paths"]["/v1/runs/{run_id}:start"]["post"]["requestBody"]
    assert "runId" not in start["content"]["application/json"]["schema"]["properties"], "it is in the path"


def test_what_is_created_is_answered_with_201(api: dict[str, Any]) -> None:
    assert "201" in api["paths"]["/v1/agent-runs"]["post"]["responses"]
    assert "200" in api["paths"]["/v1/runs"]["post"]["responses"]


def test_answers_and_problems_are_what_the_schemas_say(api: dict[str, Any]) -> None:
    answer = orchestrator_pb2.GetRunResponse()
    run = answer.run
    run.run_id, run.journal_length, run.state = "run-1", 2**40, 4
    run.labels["a"] = "b"
    run.created_at.FromSeconds(1)
    step = run.steps.add(number=1)
    step.spec.input.run_command.timeout.FromSeconds(5)
    step.effect.stdout.head = b"\xff"
    step.effect.exit_code = 0
    schema(api, "GetRunResponse").validate(json.loads(to_json(answer)))
    assert not schema(api, "GetRunResponse").is_valid({"run": {"nope": 1}})
    assert not schema(api, "GetRunResponse").is_valid({"run": {"state": "running"}})
    error = InterlockError(Reason.RUN_NOT_FOUND, "No.", field="run_id", metadata={"a": "b"})
    schema(api, "Problem").validate(problem(error, "req-1"))


def test_a_summary_is_one_sentence() -> None:
    assert summary("Does this. Errors: THAT.") == "Does this"
    assert summary("") == ""
