"""One real call of every rpc: what mutations start from, and where what is known in a world comes from."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.fuzz.calls import BY_NAME, METHODS
from tests.support.fuzz.world import World, command, edit, read

from interlock.common.digests import sha256_text
from interlock.v1 import (
    access_pb2,
    decision_pb2,
    envelope_pb2,
    export_pb2,
    fork_pb2,
    policy_pb2,
    replay_pb2,
    role_pb2,
    rules_pb2,
    workspace_pb2,
)
from interlock.v1 import approval_pb2 as ap
from interlock.v1 import executor_pb2 as ex
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2 as pl

KEY, DRIVER = b"owner-of-the-effect-secret", b"driver-of-the-run-secret"
PATCH = "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
POLICY = (
    "name: p\nversion: '1'\nrules: [{name: d, effect: deny, when: observed.deleted.size() > 0, reason: r}]\n"
)
_COMMIT = ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "m"]


def learn(world: World) -> None:
    """Call every rpc for real."""
    _constants(world)
    _executor(world)
    _runs(world)
    _planner(world)
    _access(world)
    for name in ("ListWebhookDeliveries", "RedeliverWebhook"):
        world.ask(name, world.webhooks(BY_NAME[name])[-1])
    for request in world.webhooks(BY_NAME["RemoveWebhook"]):
        world.ask("RemoveWebhook", request)
    world.situations()
    missing = {method.name for method in METHODS} - set(world.seeds)
    assert not missing, f"add a real call of the new rpcs to {__name__}: {missing}"


def _constants(world: World) -> None:
    for path in (
        "a.txt",
        "src",
        "src/b.bin",
        "src/odd\nname",
        "out",
        "out/passwd",
        "loop",
        "new.txt",
        ".",
    ):
        world.knows(path, "path", "working_dir")
    world.knows(KEY, "owner_key")
    world.knows(DRIVER, "driver_key")
    world.knows(sha256_text(KEY), "owner_key_digest")
    for line in (
        "true",
        "cat a.txt",
        "echo hi > new.txt",
        "exit 3",
        "ln -s / root; rm -f a.txt",
        "printf '\\0'",
    ):
        world.knows(line, "command", "items", "instruction")
    world.knows(PATCH, "patch")
    world.knows("step-1", "context_keys", "key")
    world.knows("EX", "request_id")


def _executor(world: World) -> None:
    workspace = world.workspace()
    id_ = workspace.workspace_id
    world.ask("GetExecutorInfo", ex.GetExecutorInfoRequest())
    world.ask("GetWorkspace", ex.GetWorkspaceRequest(workspace_id=id_))
    world.ask("ListWorkspaces", ex.ListWorkspacesRequest(page_size=1))
    first = world.ask("ListFiles", ex.ListFilesRequest(workspace_id=id_, page_size=2)).tree
    world.ask("ReadFile", ex.ReadFileRequest(workspace_id=id_, path="a.txt", offset=1))
    actions = [
        ex.Action(read_file={"path": "a.txt"}),
        ex.Action(edit_file={"path": "a.txt", "patch": PATCH}),
    ]
    actions += [
        ex.Action(run_command={"command": "echo $X > new.txt", "env": {"X": "y"}, "working_dir": "src"})
    ]
    world.known["interlock.v1.Action"] = actions
    for step, action in enumerate(actions, 1):
        key = ex.EffectKey(run_id="run-seed", step=step, attempt=1)
        world.known.setdefault("interlock.v1.EffectKey", []).append(key)
        world.ask("Propose", ex.ProposeRequest(key=key, workspace_id=id_, action=action))
        owned = {"owner_key_digest": sha256_text(KEY)} if step == 2 else {}
        made = world.ask("Prepare", ex.PrepareRequest(key=key, workspace_id=id_, action=action, **owned))
        digest = made.effect.effect_digest
        if step > 1:
            owner = {"owner_key": KEY} if step == 2 else {}
            apply = ex.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest, **owner)
            world.ask("Apply", apply)
        world.ask("GetEffect", ex.GetEffectRequest(key=key))
        world.ask("StreamOutput", ex.StreamOutputRequest(key=key))
    key = ex.EffectKey(run_id="run-seed", step=9, attempt=1)
    world.ask("Prepare", ex.PrepareRequest(key=key, workspace_id=id_, action=actions[0]))
    world.ask("Discard", ex.DiscardRequest(key=key))
    head = world.ask("GetWorkspace", ex.GetWorkspaceRequest(workspace_id=id_)).workspace.head_tree
    last = world.ask("GetEffect", ex.GetEffectRequest(key=world.known["interlock.v1.EffectKey"][2])).effect
    _trees(world, id_, first, head, last)
    _streams(world, id_, actions)


def _trees(world: World, id_: str, first: str, head: str, last: Any) -> None:
    world.ask("ListSnapshots", ex.ListSnapshotsRequest(workspace_id=id_, page_size=1))
    world.ask("DiffTrees", ex.DiffTreesRequest(workspace_id=id_))
    pair = {"base_tree": first, "result_tree": head}
    world.ask("CompareEffects", ex.CompareEffectsRequest(workspace_id=id_, earlier=pair, later=pair))
    for kind in (1, 2):
        item = export_pb2.ExportItem(workspace_id=id_, tree=head, message="m")
        world.ask("ExportTree", export_pb2.ExportTreeRequest(format=kind, items=[item]))
    pair = {"from_tree": last.result_tree, "to_tree": last.base_tree}
    world.ask("RevertTree", ex.RevertTreeRequest(request_id=world.fresh(), workspace_id=id_, **pair))
    world.ask("RestoreTree", ex.RestoreTreeRequest(request_id=world.fresh(), workspace_id=id_, tree=head))
    source = workspace_pb2.WorkspaceSource(tree={"workspace_id": id_, "tree": head})
    world.ask("CreateWorkspace", ex.CreateWorkspaceRequest(source=source))
    for source in sources(world.places):
        world.ask("CreateWorkspace", ex.CreateWorkspaceRequest(source=source, request_id=world.fresh()))


def _streams(world: World, id_: str, actions: list[Any]) -> None:
    key = {"run_id": "run-session", "step": 1, "attempt": 1}
    items = [ex.SessionItem(id=1, propose=ex.ProposeRequest(key=key, workspace_id=id_, action=actions[0]))]
    items += [ex.SessionItem(id=2, prepare=ex.PrepareRequest(key=key, workspace_id=id_, action=actions[0]))]
    world.ask("Session", ex.SessionRequest(items=items))
    world.ask("CollectGarbage", ex.CollectGarbageRequest(workspace_ids=[id_], dry_run=True, last=True))
    world.ask("GetStorage", ex.GetStorageRequest(workspace_ids=[id_]))
    gone = world.workspace().workspace_id
    world.ask("ForgetWorkspace", ex.ForgetWorkspaceRequest(workspace_id=gone, request_id=world.fresh()))


def _runs(world: World) -> None:
    made = world.run(read(), edit(), start=False).run_id
    world.ask("AddSteps", o.AddStepsRequest(run_id=made, steps=[read()]))
    world.ask("ExecuteNextStep", o.ExecuteNextStepRequest(run_id=made))
    waiting = world.run(edit(), policy=policy_pb2.Policy(), until="AWAITING_APPROVAL")
    about = {"run_id": waiting.run_id, "bounds": {"paths": ["src/**"], "max_steps": 2}}
    grant = world.ask("GrantEnvelope", envelope_pb2.GrantEnvelopeRequest(**about)).envelope
    world.knows(grant.envelope_id, "envelope_id")
    revoke = envelope_pb2.RevokeEnvelopeRequest(run_id=waiting.run_id, envelope_id=grant.envelope_id)
    world.ask("RevokeEnvelope", revoke)
    world.ask("PauseRun", o.PauseRunRequest(run_id=waiting.run_id, comment="wait"))
    world.ask("ResumeRun", o.ResumeRunRequest(run_id=made))
    world.reached(made, "COMPLETED")
    world.ask("StartRun", o.StartRunRequest(run_id=world.run(read(), start=False).run_id))
    planned = world.run(start=False).run_id
    world.ask("PlanRun", o.PlanRunRequest(run_id=planned))
    world.ask("ReplanRun", o.ReplanRunRequest(run_id=planned, comment="Something else."))
    world.ask("CancelRun", o.CancelRunRequest(run_id=world.run(read(), start=False).run_id))
    failed = world.run(command("exit 3"), until="FAILED").run_id
    world.ask("ReplanRun", o.ReplanRunRequest(run_id=world.run(command("exit 3"), until="FAILED").run_id))
    world.ask("RetryStep", o.RetryStepRequest(run_id=failed, step=1))
    world.ask("SkipStep", o.SkipStepRequest(run_id=world.run(read(), start=False).run_id, step=1))
    for name in (
        "GetRun",
        "GetStep",
        "ListSteps",
        "WatchRun",
        "ListEvents",
        "ExportJournal",
        "GetCost",
        "ExplainRun",
    ):
        step = {"step": 1} if name == "GetStep" else {}
        world.ask(name, BY_NAME[name].request(run_id=made, **step))
    world.ask("ListRuns", o.ListRunsRequest(page_size=1, labels={"team": "a"}))
    world.ask("RevertStep", o.RevertStepRequest(run_id=made, step=2))
    world.ask("RollbackRun", o.RollbackRunRequest(run_id=made, to_step=1))
    fork = world.ask("ForkRun", fork_pb2.ForkRunRequest(run_id=made, at_step=1)).run.run_id
    world.ask("CompareRuns", fork_pb2.CompareRunsRequest(run_a=made, run_b=fork))
    world.ask("GetPolicy", rules_pb2.GetPolicyRequest(run_id=made))
    tried = rules_pb2.BacktestPolicyRequest(document=POLICY, run_ids=[made])
    world.ask("BacktestPolicy", tried)
    world.ask("ReplayRun", replay_pb2.ReplayRunRequest(run_id=made, all_steps=True))
    world.ask("EraseFromRun", o.EraseFromRunRequest(run_id=failed, everything=True, reason="asked for"))
    # Refused as long as followers of the feed may come back for it: here, always.
    archive = o.ArchiveRunRequest(run_id=failed, bundle_digest="sha256:" + "0" * 64, place="elsewhere")
    assert not world.call("ArchiveRun", archive).ok
    world.seeds["ArchiveRun"] = [archive]
    world.ask("GetCostReport", o.GetCostReportRequest(by=["workspace", "model"], since="2026-01-01"))
    budget = policy_pb2.Budget(max_cost_micros=5_000_000)
    planned = world.run(read(), start=False).run_id
    world.ask("SetRunBudget", o.SetRunBudgetRequest(run_id=planned, budget=budget))
    cap = o.SharedBudget(scope=o.BUDGET_SCOPE_CALLER, key="nobody", max_cost_micros=5_000_000)
    world.ask("SetBudget", o.SetBudgetRequest(budget=cap))
    world.ask("ListBudgets", o.ListBudgetsRequest())
    world.ask("ListAnchors", o.ListAnchorsRequest(page_size=1))
    world.ask("CollectStorage", o.CollectStorageRequest(dry_run=True))
    gone = world.workspace().workspace_id
    world.ask("RemoveWorkspace", o.RemoveWorkspaceRequest(workspace_id=gone, request_id=world.fresh()))
    _approvals(world)


def _approvals(world: World) -> None:
    world.ask("ListApprovalRecords", o.ListApprovalRecordsRequest(page_size=1))
    for name, request in (("Decide", ap.DecideRequest), ("RecordDecision", o.RecordDecisionRequest)):
        run = world.run(edit(), policy=policy_pb2.Policy(), until="AWAITING_APPROVAL")
        shown = world.pending(run.run_id)
        if name == "Decide":
            world.ask("GetApproval", ap.GetApprovalRequest(approval_id=shown.approval_id))
            world.ask("GetApprovalRecord", o.GetApprovalRecordRequest(approval_id=shown.approval_id))
            world.ask("Subscribe", ap.SubscribeRequest(with_preview=True))
            world.ask("WatchApprovals", o.WatchApprovalsRequest())
        decision = decision_pb2.Decision(digest=shown.digest, approve={}, channel="fuzz")
        world.ask(name, request(approval_id=shown.approval_id, decision=decision))


def _planner(world: World) -> None:
    result = pl.ContextResult(key="step-1", kind=1, state=6, text="old")
    files = [pl.ContextFile(path="a.txt", size=4, content="one\n")]
    world.ask("Plan", pl.PlanRequest(goal="g", files=files))
    world.ask(
        "Replan",
        pl.ReplanRequest(goal="g", files=files, results=[result], feedback="no", remaining=[read()]),
    )
    world.ask("Analyze", pl.AnalyzeRequest(instruction="why", results=[result]))
    world.ask("Summarize", pl.SummarizeRequest(instruction="sum", results=[result]))
    world.ask("DraftEdit", pl.DraftEditRequest(path="a.txt", current_content="one\n", instruction="do"))
    key = pl.ReplyKey(run_id="run-0", step=1, attempt=1)
    world.ask("StreamReply", pl.StreamReplyRequest(key=key, offset=1))
    world.ask("GetCapabilities", pl.GetCapabilitiesRequest())


def _access(world: World) -> None:
    roles = [role_pb2.ROLE_VIEWER, role_pb2.ROLE_OPERATOR]
    request = access_pb2.CreateTokenRequest(subject="bot", roles=roles, scope={"team": "a"}, note="n")
    made = world.ask("CreateToken", request)
    world.knows(made.token.token_id, "token_id")
    world.knows(hashlib.sha256(made.text.encode()).digest(), "digest")
    world.ask("ListTokens", access_pb2.ListTokensRequest(page_size=1))
    world.ask("WhoAmI", access_pb2.WhoAmIRequest())
    digest = hashlib.sha256(made.text.encode()).digest()
    world.ask("Introspect", access_pb2.IntrospectRequest(token_id=made.token.token_id, digest=digest))
    given = world.ask("Delegate", access_pb2.DelegateRequest(to_subject="bob", lifetime={"seconds": 600}))
    world.knows(given.delegation.delegation_id, "delegation_id")
    world.ask("ListDelegations", access_pb2.ListDelegationsRequest(all=True, page_size=1))
    about = access_pb2.RevokeDelegationRequest(delegation_id=given.delegation.delegation_id)
    world.ask("RevokeDelegation", about)
    denial = access_pb2.Denial(subject="bot", rpc="interlock.v1.Executor/Apply", message="no", count=1)
    denial.at.GetCurrentTime()
    world.ask("RecordDenials", access_pb2.RecordDenialsRequest(denials=[denial]))
    world.ask("ListDenials", access_pb2.ListDenialsRequest(page_size=1))
    other = world.ask("CreateToken", request).token.token_id
    world.ask("RevokeToken", access_pb2.RevokeTokenRequest(token_id=other))


def sources(places: Path) -> Iterator[workspace_pb2.WorkspaceSource]:
    """An archive and a repository to import."""
    archive = places / "some.tar"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("top/a.txt")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"one\n"))
    yield workspace_pb2.WorkspaceSource(archive={"path": str(archive), "strip_components": 1})
    repository = places / "repository"
    for line in (["init", "-q", str(repository)], ["-C", str(repository), *_COMMIT]):
        subprocess.run(["git", *line], check=True)
    yield workspace_pb2.WorkspaceSource(git={"url": f"file://{repository}"})
