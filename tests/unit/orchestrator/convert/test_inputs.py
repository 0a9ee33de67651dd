"""Inputs of steps, as they are asked for."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.convert.inputs import step_input
from interlock.v1 import step_pb2


def asked(nanos: int) -> step_pb2.StepInput:
    timeout = Duration(seconds=1, nanos=nanos)
    return step_pb2.StepInput(run_command=step_pb2.RunCommandInput(command="true", timeout=timeout))


def test_a_timeout_is_kept() -> None:
    assert step_input(asked(500_000_000), field="input")[1]["timeout"] == "1.500s"


@pytest.mark.parametrize("nanos", [1_000_000_000, 1_073_741_824, -1_000_000_000])
def test_a_timeout_that_has_no_json_form_is_refused(nanos: int) -> None:
    with pytest.raises(InterlockError) as refused:
        step_input(asked(nanos), field="input")
    assert refused.value.reason is Reason.INVALID_ARGUMENT
    assert refused.value.field == "input.run_command.timeout"
