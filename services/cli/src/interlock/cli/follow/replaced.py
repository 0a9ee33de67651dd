"""A preview that is replaced because the workspace moved under it: said when it happens, and when the new one asks."""

from __future__ import annotations

import json

from interlock.cli.safe import escape
from interlock.v1.orchestrator_pb2 import WatchRunResponse

_PATHS = 5


def replaced_line(message: WatchRunResponse) -> str:
    """One line for people, safe to show; empty for messages about anything else."""
    step = message.step
    if message.event.type == "step.preview_superseded":
        return escape(f"Step {step.number}: {_void(message.event.canonical_json)}; it is previewed anew.")
    if message.event.type == "approval.requested" and step.replaced_approval_id:
        return escape(
            f"Step {step.number}: decide {step.approval_id} now, in place of {step.replaced_approval_id} "
            f"(`interlock approvals show {step.approval_id}`)."
        )
    return ""


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
