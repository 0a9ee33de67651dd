"""A real installation to fuzz, what it holds, and what must be true of it afterwards.

Its planner asks a scripted model. Every rpc is first called once for real (`World.seeds`): those requests are what
mutations start from, and what their answers name is what random messages are filled with.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from tests.support.background import in_background
from tests.support.fuzz.calls import BY_NAME, METHODS, TRACEBACK, Caller, Method, Outcome, check
from tests.support.fuzz.messages import Known
from tests.support.installation import SERVICES, Installation, running, wait_until
from tests.support.models import MODEL, Answer, Request, chat, scripted
from tests.support.trees import read_tree

from interlock.common.digests import sha256_text
from interlock.v1 import (
    access_pb2,
    decision_pb2,
    export_pb2,
    fork_pb2,
    policy_pb2,
    role_pb2,
    run_pb2,
    step_pb2,
    workspace_pb2,
)
from interlock.v1 import approval_pb2 as ap
from interlock.v1 import executor_pb2 as ex
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2 as pl

GROWTH_BYTES = 200 * 1024 * 1024
KEY, DRIVER = b"owner-of-the-effect-secret", b"driver-of-the-run-secret"
PLAN = {"steps": [{"kind": "read_file", "name": "look", "path": "a.txt"}]}
FREE = policy_pb2.Policy(edit_file_gate=1, run_command_gate=1, steps_may_weaken=True)
PATCH = "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
ABSENT = "/interlock-escaped"


def answer_for(request: Request) -> Answer | None:
    """What the scripted model says: what it is asked for."""
    if request.method != "POST":
        return None
    wanted = str(request.json.get("response_format", ""))
    if "new_content" in wanted and "steps" not in wanted:
        return chat({"new_content": "drafted\n"})
    return chat(PLAN) if "steps" in wanted else chat("It is fine.")


def read(path: str = "a.txt") -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input={"read_file": {"path": path}})


def edit(content: str = "new\n", path: str = "a.txt") -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input={"edit_file": {"path": path, "new_content": content}})


def command(line: str) -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input={"run_command": {"command": line}})


class World:
    """The installation, its channels, what is known in it, and the requests that worked."""

    def __init__(self, up: Installation, caller: Caller) -> None:
        self.up, self.caller = up, caller
        self.places = up.home / "places"
        self.known: Known = {}
        self.seeds: dict[str, list[Any]] = {}
        self.run_ids: list[str] = []
        self._count = 0
        self.canaries = up.home / "canaries"
        self.pids: dict[str, int] = {}
        self.memory: dict[str, int] = {}

    # What is there

    def call(self, name: str, *requests: Any) -> Outcome:
        """Call an rpc with messages."""
        method = BY_NAME[name]
        return self.caller.call(method, [request.SerializeToString() for request in requests])

    def ask(self, name: str, *requests: Any) -> Any:
        """The first answer of a call that must work; the request becomes a seed."""
        outcome = self.call(name, *requests)
        check(BY_NAME[name], outcome)
        assert outcome.ok, (name, outcome)
        self.seeds.setdefault(name, []).extend(requests)
        self._learn(outcome.answers[:50])
        return outcome.answers[0] if outcome.answers else None

    def _learn(self, answers: Any) -> None:
        for answer in answers:
            for field, value in answer.ListFields():
                if field.message_type is not None:
                    if not field.message_type.GetOptions().map_entry:
                        self._learn(list(value)[:20] if field.is_repeated else [value])
                elif isinstance(value, str) and value:
                    self.knows(value, field.name)

    def knows(self, value: Any, *names: str) -> None:
        """Values may be given to fields by these names; the newest twelve are kept."""
        for name in names:
            for alias in _ALIASES.get(name, (name,)):
                there = self.known.setdefault(alias, [])
                if value not in there:
                    there.append(value)
                    del there[:-12]

    def _fresh(self) -> str:
        self._count += 1
        return f"fuzz-{self._count}"

    def project(self, name: str = "") -> Path:
        """A small directory."""
        made = self.places / (name or self._fresh())
        made.mkdir(parents=True)
        made.chmod(0o755)
        (made / "a.txt").write_text("one\ntwo\nthree\n")
        (made / "src").mkdir()
        (made / "src" / "b.bin").write_bytes(bytes(range(256)))
        (made / "src" / "odd\nname").write_text("odd\n")
        (made / "out").symlink_to("/etc")
        (made / "loop").symlink_to("loop")
        return made

    def workspace(self, name: str = "") -> Any:
        """A new workspace over a small directory."""
        source = workspace_pb2.WorkspaceSource(directory={"path": str(self.project(name))})
        return self.ask("CreateWorkspace", ex.CreateWorkspaceRequest(source=source)).workspace

    def run(
        self, *steps: Any, policy: Any = FREE, start: bool = True, until: str = "", workspace: str = ""
    ) -> Any:
        """A new run on a workspace of its own, in the state named."""
        request = o.CreateRunRequest(
            goal="fuzz", workspace_id=workspace or self.workspace().workspace_id, steps=steps, policy=policy,
            start=start, request_id=self._fresh(), labels={"team": "a"},
        )  # fmt: skip
        run = self.ask("CreateRun", request).run
        self.run_ids.append(run.run_id)
        return self.reached(run.run_id, until) if until else run

    def reached(self, run_id: str, state: str) -> Any:
        """The run, once it is in the state."""
        wanted = run_pb2.RunState.Value(f"RUN_STATE_{state}")

        def there() -> Any:
            run = self.call("GetRun", o.GetRunRequest(run_id=run_id)).answers[0].run
            return run if run.state == wanted else None

        return wait_until(there, 30, f"{run_id} {state}")

    def pending(self, run_id: str) -> Any:
        """What the run waits for."""
        page = self.ask("ListApprovals", ap.ListApprovalsRequest(filter={"run_id": run_id}))
        return page.approvals[0]

    def situations(self) -> None:
        """Runs in many states, newly made, known by their ids: what commands can be about."""
        gated = policy_pb2.Policy(steps_may_weaken=True)
        self.run(start=False)
        self.run(read(), edit(), start=False)
        run = self.run(edit(), read(), policy=gated, until="AWAITING_APPROVAL")
        self.pending(run.run_id)
        self.run(read(), edit(), command("echo x > new.txt"), until="COMPLETED")
        self.run(read(), command("exit 3"), edit(), until="FAILED")

    def seeds_of(self, method: Method) -> list[Any]:
        """Requests of the rpc that may work now: those that did, and the same about what was made last."""
        seeds = list(self.seeds[method.name])[-4:]
        fields = method.request.DESCRIPTOR.fields_by_name
        if method.name == "CreateWorkspace":
            places = [self.project() for _ in range(6)]
            new = [workspace_pb2.WorkspaceSource(directory={"path": str(place)}) for place in places]
            return [*(ex.CreateWorkspaceRequest(source=each) for each in new), *seeds]
        if method.name in ("Propose", "Prepare", "Apply", "Discard"):
            return self._effects(method)
        if "request_id" not in fields or not {"run_id", "approval_id"} & set(fields):
            return seeds
        self.situations()
        if "approval_id" in fields:
            shown = self.pending(self.run_ids[-3])
            other: Any = {"edit": {"input": edit().input}}
            verdicts: list[Any] = [{"approve": {}}, {"reject": {"action": 3}}, {"skip": {}}, other]
            decisions = [decision_pb2.Decision(digest=shown.digest, **verdict) for verdict in verdicts]
            return [method.request(approval_id=shown.approval_id, decision=each) for each in decisions]
        for run_id in self.run_ids[-5:]:
            seeds.append(type(seeds[0])())
            seeds[-1].CopyFrom(seeds[0])
            seeds[-1].run_id, seeds[-1].request_id = run_id, ""
        return seeds

    def _effects(self, method: Method) -> list[Any]:
        """About attempts that are new: prepared ones, where there must be one."""
        made = []
        workspace = self.workspace().workspace_id
        for action in self.known["interlock.v1.Action"] * 2:
            key = ex.EffectKey(run_id=f"run-{self._fresh()}", step=1, attempt=1)
            request = ex.PrepareRequest(key=key, workspace_id=workspace, action=action)
            if method.name in ("Propose", "Prepare"):
                made.append(method.request(key=key, workspace_id=workspace, action=action))
                continue
            digest = self.ask("Prepare", request).effect.effect_digest
            about = {"effect_digest": digest, "approved_digest": digest} if method.name == "Apply" else {}
            made.append(method.request(key=key, **about))
        return made

    # One real call of every rpc

    def learn(self) -> None:
        """Call every rpc for real."""
        self._constants()
        self._learn_executor()
        self._learn_runs()
        self._learn_planner()
        self._learn_access()
        self.situations()
        missing = {method.name for method in METHODS} - set(self.seeds)
        assert not missing, f"add a real call of the new rpcs to {__name__}: {missing}"

    def _constants(self) -> None:
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
            self.knows(path, "path", "working_dir")
        self.knows(KEY, "owner_key")
        self.knows(DRIVER, "driver_key")
        self.knows(sha256_text(KEY), "owner_key_digest")
        for line in (
            "true",
            "cat a.txt",
            "echo hi > new.txt",
            "exit 3",
            "ln -s / root; rm -f a.txt",
            "printf '\\0'",
        ):
            self.knows(line, "command", "items", "instruction")
        self.knows(PATCH, "patch")
        self.knows("step-1", "context_keys", "key")
        self.knows("EX", "request_id")

    def _learn_executor(self) -> None:
        workspace = self.workspace()
        id_ = workspace.workspace_id
        self.ask("GetExecutorInfo", ex.GetExecutorInfoRequest())
        self.ask("GetWorkspace", ex.GetWorkspaceRequest(workspace_id=id_))
        self.ask("ListWorkspaces", ex.ListWorkspacesRequest(page_size=1))
        first = self.ask("ListFiles", ex.ListFilesRequest(workspace_id=id_, page_size=2)).tree
        self.ask("ReadFile", ex.ReadFileRequest(workspace_id=id_, path="a.txt", offset=1))
        actions = [
            ex.Action(read_file={"path": "a.txt"}),
            ex.Action(edit_file={"path": "a.txt", "patch": PATCH}),
        ]
        actions += [
            ex.Action(run_command={"command": "echo $X > new.txt", "env": {"X": "y"}, "working_dir": "src"})
        ]
        self.known["interlock.v1.Action"] = actions
        for step, action in enumerate(actions, 1):
            key = ex.EffectKey(run_id="run-seed", step=step, attempt=1)
            self.known.setdefault("interlock.v1.EffectKey", []).append(key)
            self.ask("Propose", ex.ProposeRequest(key=key, workspace_id=id_, action=action))
            owned = {"owner_key_digest": sha256_text(KEY)} if step == 2 else {}
            made = self.ask("Prepare", ex.PrepareRequest(key=key, workspace_id=id_, action=action, **owned))
            digest = made.effect.effect_digest
            if step > 1:
                owner = {"owner_key": KEY} if step == 2 else {}
                apply = ex.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest, **owner)
                self.ask("Apply", apply)
            self.ask("GetEffect", ex.GetEffectRequest(key=key))
            self.ask("StreamOutput", ex.StreamOutputRequest(key=key))
        key = ex.EffectKey(run_id="run-seed", step=9, attempt=1)
        self.ask("Prepare", ex.PrepareRequest(key=key, workspace_id=id_, action=actions[0]))
        self.ask("Discard", ex.DiscardRequest(key=key))
        head = self.ask("GetWorkspace", ex.GetWorkspaceRequest(workspace_id=id_)).workspace.head_tree
        last = self.ask("GetEffect", ex.GetEffectRequest(key=self.known["interlock.v1.EffectKey"][2])).effect
        self._learn_trees(id_, first, head, last)
        self._learn_streams(id_, actions)

    def _learn_trees(self, id_: str, first: str, head: str, last: Any) -> None:
        self.ask("ListSnapshots", ex.ListSnapshotsRequest(workspace_id=id_, page_size=1))
        self.ask("DiffTrees", ex.DiffTreesRequest(workspace_id=id_))
        pair = {"base_tree": first, "result_tree": head}
        self.ask("CompareEffects", ex.CompareEffectsRequest(workspace_id=id_, earlier=pair, later=pair))
        for kind in (1, 2):
            item = export_pb2.ExportItem(workspace_id=id_, tree=head, message="m")
            self.ask("ExportTree", export_pb2.ExportTreeRequest(format=kind, items=[item]))
        pair = {"from_tree": last.result_tree, "to_tree": last.base_tree}
        self.ask("RevertTree", ex.RevertTreeRequest(request_id=self._fresh(), workspace_id=id_, **pair))
        self.ask("RestoreTree", ex.RestoreTreeRequest(request_id=self._fresh(), workspace_id=id_, tree=head))
        source = workspace_pb2.WorkspaceSource(tree={"workspace_id": id_, "tree": head})
        self.ask("CreateWorkspace", ex.CreateWorkspaceRequest(source=source))
        for source in sources(self.places):
            self.ask("CreateWorkspace", ex.CreateWorkspaceRequest(source=source, request_id=self._fresh()))

    def _learn_streams(self, id_: str, actions: list[Any]) -> None:
        key = {"run_id": "run-session", "step": 1, "attempt": 1}
        items = [
            ex.SessionItem(id=1, propose=ex.ProposeRequest(key=key, workspace_id=id_, action=actions[0]))
        ]
        items += [
            ex.SessionItem(id=2, prepare=ex.PrepareRequest(key=key, workspace_id=id_, action=actions[0]))
        ]
        self.ask("Session", ex.SessionRequest(items=items))
        self.ask("CollectGarbage", ex.CollectGarbageRequest(workspace_ids=[id_], dry_run=True, last=True))
        self.ask("GetStorage", ex.GetStorageRequest(workspace_ids=[id_]))

    def _learn_runs(self) -> None:
        made = self.run(read(), edit(), start=False).run_id
        self.ask("AddSteps", o.AddStepsRequest(run_id=made, steps=[read()]))
        self.ask("ExecuteNextStep", o.ExecuteNextStepRequest(run_id=made))
        waiting = self.run(edit(), policy=policy_pb2.Policy(), until="AWAITING_APPROVAL")
        self.ask("PauseRun", o.PauseRunRequest(run_id=waiting.run_id, comment="wait"))
        self.ask("ResumeRun", o.ResumeRunRequest(run_id=made))
        self.reached(made, "COMPLETED")
        self.ask("StartRun", o.StartRunRequest(run_id=self.run(read(), start=False).run_id))
        self.ask("PlanRun", o.PlanRunRequest(run_id=self.run(start=False).run_id))
        self.ask("CancelRun", o.CancelRunRequest(run_id=self.run(read(), start=False).run_id))
        failed = self.run(command("exit 3"), until="FAILED").run_id
        self.ask("RetryStep", o.RetryStepRequest(run_id=failed, step=1))
        self.ask("SkipStep", o.SkipStepRequest(run_id=self.run(read(), start=False).run_id, step=1))
        for name in ("GetRun", "GetStep", "ListSteps", "WatchRun", "ListEvents", "ExportJournal", "GetCost"):
            step = {"step": 1} if name == "GetStep" else {}
            self.ask(name, BY_NAME[name].request(run_id=made, **step))
        self.ask("ListRuns", o.ListRunsRequest(page_size=1, labels={"team": "a"}))
        self.ask("RevertStep", o.RevertStepRequest(run_id=made, step=2))
        self.ask("RollbackRun", o.RollbackRunRequest(run_id=made, to_step=1))
        fork = self.ask("ForkRun", fork_pb2.ForkRunRequest(run_id=made, at_step=1)).run.run_id
        self.ask("CompareRuns", fork_pb2.CompareRunsRequest(run_a=made, run_b=fork))
        self.ask("CollectStorage", o.CollectStorageRequest(dry_run=True))
        self._learn_approvals()

    def _learn_approvals(self) -> None:
        self.ask("ListApprovalRecords", o.ListApprovalRecordsRequest(page_size=1))
        for name, request in (("Decide", ap.DecideRequest), ("RecordDecision", o.RecordDecisionRequest)):
            run = self.run(edit(), policy=policy_pb2.Policy(), until="AWAITING_APPROVAL")
            shown = self.pending(run.run_id)
            if name == "Decide":
                self.ask("GetApproval", ap.GetApprovalRequest(approval_id=shown.approval_id))
                self.ask("GetApprovalRecord", o.GetApprovalRecordRequest(approval_id=shown.approval_id))
                self.ask("Subscribe", ap.SubscribeRequest(with_preview=True))
                self.ask("WatchApprovals", o.WatchApprovalsRequest())
            decision = decision_pb2.Decision(digest=shown.digest, approve={}, channel="fuzz")
            self.ask(name, request(approval_id=shown.approval_id, decision=decision))

    def _learn_planner(self) -> None:
        result = pl.ContextResult(key="step-1", kind=1, state=6, text="old")
        files = [pl.ContextFile(path="a.txt", size=4, content="one\n")]
        self.ask("Plan", pl.PlanRequest(goal="g", files=files))
        self.ask(
            "Replan",
            pl.ReplanRequest(goal="g", files=files, results=[result], feedback="no", remaining=[read()]),
        )
        self.ask("Analyze", pl.AnalyzeRequest(instruction="why", results=[result]))
        self.ask("Summarize", pl.SummarizeRequest(instruction="sum", results=[result]))
        self.ask("DraftEdit", pl.DraftEditRequest(path="a.txt", current_content="one\n", instruction="do"))
        self.ask("GetCapabilities", pl.GetCapabilitiesRequest())

    def _learn_access(self) -> None:
        roles = [role_pb2.ROLE_VIEWER, role_pb2.ROLE_OPERATOR]
        request = access_pb2.CreateTokenRequest(subject="bot", roles=roles, scope={"team": "a"}, note="n")
        made = self.ask("CreateToken", request)
        self.knows(made.token.token_id, "token_id")
        self.knows(hashlib.sha256(made.text.encode()).digest(), "digest")
        self.ask("ListTokens", access_pb2.ListTokensRequest(page_size=1))
        self.ask("WhoAmI", access_pb2.WhoAmIRequest())
        digest = hashlib.sha256(made.text.encode()).digest()
        self.ask("Introspect", access_pb2.IntrospectRequest(token_id=made.token.token_id, digest=digest))
        denial = access_pb2.Denial(subject="bot", rpc="interlock.v1.Executor/Apply", message="no", count=1)
        denial.at.GetCurrentTime()
        self.ask("RecordDenials", access_pb2.RecordDenialsRequest(denials=[denial]))
        self.ask("ListDenials", access_pb2.ListDenialsRequest(page_size=1))
        other = self.ask("CreateToken", request).token.token_id
        self.ask("RevokeToken", access_pb2.RevokeTokenRequest(token_id=other))

    # What must stay true

    def settle(self) -> None:
        """Remember what nothing may change, and how much memory everything takes."""
        self.canaries.mkdir()
        for name in ("a.txt", "src", "new.txt"):
            (self.canaries / name).write_text("canary\n")
        self.bystander = self.workspace("bystander")
        for values in self.known.values():
            values[:] = [v for v in values if v not in (self.bystander.workspace_id, self.bystander.path)]
        self.seeds["CreateWorkspace"].pop()
        self.still = self._still()
        self.pids = {name: self.up.pid(name) for name in SERVICES}
        self.memory = self._memory()
        self.outside = set(os.listdir("/")) | set(os.listdir("/etc"))

    def _still(self) -> Any:
        return read_tree(self.canaries), read_tree(Path(self.bystander.path)), self._head()

    def _head(self) -> Any:
        request = ex.GetWorkspaceRequest(workspace_id=self.bystander.workspace_id)
        return self.call("GetWorkspace", request).answers[0].workspace

    def _memory(self) -> dict[str, int]:
        return {name: psutil.Process(pid).memory_info().rss for name, pid in self.pids.items()}

    def unharmed(self) -> None:
        """Fails when a service died, is ill, logged a traceback or grew, or when anything else was changed."""
        assert {name: self.up.pid(name) for name in SERVICES} == self.pids, "a service died"
        assert self.caller.serving() == dict.fromkeys(SERVICES, True)
        for name in SERVICES:
            log = self.up.log(name)
            assert TRACEBACK not in log, _around(log, TRACEBACK)
            assert '"level":"error"' not in log.replace(" ", ""), _around(
                log.replace(" ", ""), '"level":"error"'
            )
        grown = {name: now - self.memory[name] for name, now in self._memory().items()}
        assert max(grown.values()) < GROWTH_BYTES, grown
        assert self._still() == self.still
        assert not os.path.lexists(ABSENT)
        assert set(os.listdir("/")) | set(os.listdir("/etc")) == self.outside
        self.no_step_failed_by_a_defect()

    def no_step_failed_by_a_defect(self) -> None:
        """What went wrong behind an answer that was OK."""
        token = ""
        while True:
            page = self.call("ListRuns", o.ListRunsRequest(page_size=200, page_token=token)).answers[0]
            for run in page.runs:
                failures = [run.failure, *(step.failure for step in run.steps)]
                assert all(failure.reason != "INTERNAL" for failure in failures), run
            token = page.next_page_token
            if not token:
                return

    def tame(self, message: Any) -> Any:
        """Keeps what a caller may rightly ask for away from the machine that the tests run on.

        A caller names the directory, archive or place of a new workspace itself, and a repository anywhere.
        """
        if isinstance(message, fork_pb2.ForkRunRequest):
            message.workspace_path = self._place(message.workspace_path)
        if isinstance(message, ex.CreateWorkspaceRequest):
            source = message.source
            kind = source.WhichOneof("source")
            if kind == "git":
                url = source.git.url
                if url not in self.known.get("url", ()) and (
                    "://" in url or "@" in url or url.startswith("/")
                ):
                    source.git.url = "x" + url
            elif kind:
                getattr(source, kind).path = self._place(getattr(source, kind).path)
        return message

    def _place(self, path: str) -> str:
        if not path.startswith("/") or path.startswith((str(self.places), "/proc/")):
            return path
        return f"{self.places}/{path.replace('..', '.')}"


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


_COMMIT = ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "m"]
_TREES = ("tree", "base_tree", "result_tree", "from_tree", "to_tree", "expected_head", "trees")
_DIGESTS = ("digest", "effect_digest", "approved_digest", "expected_request_digest", "request_digest")
_ALIASES = {
    "workspace_id": ("workspace_id", "to_workspace_id", "workspace_ids"),
    "run_id": ("run_id", "run_a", "run_b", "run_ids"),
    "next_page_token": ("page_token",),
    **dict.fromkeys(("head_tree", "previous_tree", *_TREES), _TREES),
    **dict.fromkeys(_DIGESTS, _DIGESTS),
}


def _around(log: str, what: str) -> str:
    at = log.find(what)
    return log[max(0, at - 3000) : at + 3000]


@contextmanager
def world() -> Iterator[World]:
    """A world in which every rpc was called."""
    with in_background(scripted) as (model, _):
        model.rule(answer_for)
        environment = {
            "INTERLOCK_MODEL_GATEWAY": "openai",
            "INTERLOCK_MODEL_BASE_URL": f"{model.url}/v1",
            "INTERLOCK_MODEL_NAME": MODEL,
        }
        with running(**environment) as up:
            caller = Caller(up.endpoints, (up.home / "data" / "token").read_text().strip())
            try:
                made = World(up, caller)
                made.learn()
                made.settle()
                yield made
            finally:
                caller.close()
