"""What asks for a decision: said when it does, and when its preview is replaced because the workspace moved."""

from __future__ import annotations

import json

from interlock.cli.safe import escape
from interlock.cli.show.steps import asks
from interlock.v1.orchestrator_pb2 import WatchRunResponse
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import StepState

_PATHS = 5


class Questions:
    """Says what asks for a decision while a run is followed, and what it replaces.

    Args:
        run: as it was when following began. Of what its journal had by then, only the open question is said.
        hint: whether to say how to decide, because nobody is asked here.
    """

    def __init__(self, run: Run, *, hint: bool) -> None:
        self._known = run.journal_length
        self._open = {
            step.approval_id for step in run.steps if step.state == StepState.STEP_STATE_AWAITING_APPROVAL
        }
        self._hint = hint

    def line(self, message: WatchRunResponse) -> str:
        """One line for people, safe to show; empty where there is nothing to say."""
        step, event = message.step, message.event
        if event.type == "step.preview_superseded":
            return escape(f"Step {step.number}: {_void(event.canonical_json)}; it is previewed anew.")
        past = event.seq <= self._known and step.approval_id not in self._open
        if event.type != "approval.requested" or past:
            return ""
        if step.replaced_approval_id:
            return escape(
                f"Step {step.number}: decide {step.approval_id} now, in place of {step.replaced_approval_id} "
                f"(`interlock approvals show {step.approval_id}`)."
            )
        return escape(asks(step)) if self._hint else ""


def _void(canonical: bytes) -> str:
    """`the workspace changed under the preview (WORKSPACE_DRIFTED: a), so apr-… is void`."""
    try:
        data = json.loads(canonical)["data"]
    except (ValueError, KeyError):
        data = {}
    paths = [str(path) for path in data.get("paths", ())]
    named = ", ".join(paths[:_PATHS]) + (" …" if len(paths) > _PATHS else "")
    why = ": ".join(filter(None, (str(data.get("reason", "")), named)))
    void = [str(each) for each in data.get("approval_ids", ())][-1:]
    said = "the workspace changed under the preview" + (f" ({why})" if why else "")
    return f"{said}, so {void[0]} is void" if void else said
