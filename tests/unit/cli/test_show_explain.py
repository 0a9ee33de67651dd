"""How `run explain` reads."""

from __future__ import annotations

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.cli.settings import Output, Settings
from interlock.cli.show.explain import show_explanation
from interlock.v1.explain_pb2 import WAIT_CAUSE_DECISION, ExplainRunResponse, WaitOption
from interlock.v1.run_pb2 import RUN_STATE_AWAITING_APPROVAL

SAID = ExplainRunResponse(
    run_id="run-1",
    state=RUN_STATE_AWAITING_APPROVAL,
    cause=WAIT_CAUSE_DECISION,
    summary="A decision about step 1 (apr-1, gate effect).",
    since=Timestamp(seconds=1_800_000_000),
    details=["It does not expire.", "odd \x1b[31mname"],
    options=[WaitOption(command="interlock approvals show apr-1", effect="shows what there is to decide")],
)


def test_it_reads_as_sentences_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    show_explanation(Settings(output=Output.TABLE), SAID)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["run-1 is AWAITING_APPROVAL. It waits for:", f"  {SAID.summary}"]
    assert "  It does not expire." in lines
    assert "  interlock approvals show apr-1" in lines
    assert "\x1b" not in "".join(lines)


def test_as_json_it_is_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    show_explanation(Settings(output=Output.JSON), SAID)
    said = json.loads(capsys.readouterr().out)
    assert said["cause"] == "WAIT_CAUSE_DECISION"
    assert said["options"][0]["command"] == "interlock approvals show apr-1"
