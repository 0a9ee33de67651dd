from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

from interlock.common.errors import InterlockError, Reason
from interlock.common.interceptors.validation import CONTENT, validate
from interlock.v1 import approval_pb2, decision_pb2, orchestrator_pb2, planner_pb2, step_pb2


def violations_of(message: object) -> dict[str, str]:
    with pytest.raises(InterlockError) as caught:
        validate(message)
    assert caught.value.reason is Reason.VALIDATION_FAILED
    return dict(caught.value.violations)


def test_valid_message_passes() -> None:
    validate(approval_pb2.GetApprovalRequest(approval_id="apr-1"))


def test_every_field_is_listed_with_what_is_wrong() -> None:
    found = violations_of(orchestrator_pb2.CreateRunRequest(workspace_id="x" * 65))
    assert set(found) == {"goal", "workspace_id"}
    assert "at least 1" in found["goal"]
    assert "at most 64" in found["workspace_id"]


def test_paths_go_through_messages_lists_and_maps() -> None:
    request = orchestrator_pb2.CreateRunRequest(goal="g", workspace_id="ws", labels={"bad key": "v"})
    assert set(violations_of(request)) == {'labels["bad key"]'}
    decision = decision_pb2.Decision(approve=decision_pb2.Approve(), digest="nonsense")
    assert set(violations_of(approval_pb2.DecideRequest(approval_id="a", decision=decision))) == {
        "decision.digest"
    }
    request = orchestrator_pb2.CreateRunRequest(goal="g", workspace_id="ws")
    request.steps.add().CopyFrom(step_pb2.StepSpec(name="x" * 10_000))
    assert any(path.startswith("steps[0]") for path in violations_of(request))


def test_message_is_short_and_names_the_fields() -> None:
    with pytest.raises(InterlockError) as caught:
        validate(orchestrator_pb2.CreateRunRequest())
    assert str(caught.value) == "The request is not valid: goal, workspace_id."


def test_a_nul_is_refused_in_every_text_but_the_content_of_files() -> None:
    request = orchestrator_pb2.CreateRunRequest(goal="a\0b", workspace_id="ws", labels={"team": "\0"})
    request.steps.add().input.run_command.argv.items.extend(["true", "\0"])
    request.steps.add().input.edit_file.path = "a\0"
    request.steps[1].input.edit_file.new_content = "\0"
    assert set(violations_of(request)) == {
        "goal", 'labels["team"]', "steps[0].input.run_command.argv.items[1]", "steps[1].input.edit_file.path",
    }  # fmt: skip
    request = orchestrator_pb2.CreateRunRequest(goal="g", workspace_id="ws")
    request.steps.add().input.edit_file.CopyFrom(step_pb2.EditFileInput(path="a", new_content="a\0"))
    validate(request)


def test_the_fields_that_may_hold_one_are_there() -> None:
    assert planner_pb2.DESCRIPTOR
    for name in CONTENT:
        assert descriptor_pool.Default().FindFieldByName(name).type == FieldDescriptor.TYPE_STRING
