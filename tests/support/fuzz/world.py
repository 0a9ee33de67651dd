"""A real installation to fuzz, and what it holds.

Its planner asks a scripted model. Every rpc is first called once for real (`lessons`): those requests (`World.seeds`)
are what mutations start from, and what their answers name is what random messages are filled with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.fuzz.calls import BY_NAME, Caller, Method, Outcome, check
from tests.support.fuzz.messages import Known
from tests.support.installation import Installation, wait_until

from interlock.v1 import approval_pb2 as ap
from interlock.v1 import (
    decision_pb2,
    policy_pb2,
    run_pb2,
    step_pb2,
    webhook_pb2,
    workspace_pb2,
)
from interlock.v1 import executor_pb2 as ex
from interlock.v1 import orchestrator_pb2 as o

FREE = policy_pb2.Policy(edit_file_gate=1, run_command_gate=1, steps_may_weaken=True)


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

    def fresh(self) -> str:
        self._count += 1
        return f"fuzz-{self._count}"

    def project(self, name: str = "") -> Path:
        """A small directory."""
        made = self.places / (name or self.fresh())
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
            start=start, request_id=self.fresh(), labels={"team": "a"},
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
        paused = self.run(read(), edit(), start=False).run_id
        self.ask("ExecuteNextStep", o.ExecuteNextStepRequest(run_id=paused))
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
        if method.service_name == "Webhooks":
            return self.webhooks(method)
        if "request_id" not in fields or not {"run_id", "approval_id"} & set(fields):
            return seeds
        self.situations()
        if "approval_id" in fields:
            shown = self.pending(self.run_ids[-3])
            other: Any = {"edit": {"input": edit().input}}
            verdicts: list[Any] = [{"approve": {}}, {"reject": {"action": 3}}, {"skip": {}}, other]
            decisions = [decision_pb2.Decision(digest=shown.digest, **verdict) for verdict in verdicts]
            return [method.request(approval_id=shown.approval_id, decision=each) for each in decisions]
        for run_id in self.run_ids[-6:]:
            seeds.append(type(seeds[0])())
            seeds[-1].CopyFrom(seeds[0])
            seeds[-1].run_id, seeds[-1].request_id = run_id, ""
        return seeds

    def webhooks(self, method: Method) -> list[Any]:
        """About endpoints that are new; those of before are removed, for there may be a hundred. Nobody is there."""
        for old in self.ask("ListWebhooks", webhook_pb2.ListWebhooksRequest()).webhooks:
            self.ask("RemoveWebhook", webhook_pb2.RemoveWebhookRequest(webhook_id=old.webhook_id))
        made = []
        for number in range(4):
            add = webhook_pb2.AddWebhookRequest(url=f"https://fuzz.invalid/{number}", note="n")
            id_ = self.ask("AddWebhook", add).webhook.webhook_id
            sent = self.ask("TestWebhook", webhook_pb2.TestWebhookRequest(webhook_id=id_)).delivery
            about = (
                {"delivery_id": sent.delivery_id}
                if method.name == "RedeliverWebhook"
                else {"webhook_id": id_}
            )
            lists = method.name == "ListWebhooks"
            made.append(add if method.name == "AddWebhook" else method.request(**({} if lists else about)))
        return made

    def _effects(self, method: Method) -> list[Any]:
        """About attempts that are new: prepared ones, where there must be one."""
        made = []
        workspace = self.workspace().workspace_id
        for action in self.known["interlock.v1.Action"] * 2:
            key = ex.EffectKey(run_id=f"run-{self.fresh()}", step=1, attempt=1)
            request = ex.PrepareRequest(key=key, workspace_id=workspace, action=action)
            if method.name in ("Propose", "Prepare"):
                made.append(method.request(key=key, workspace_id=workspace, action=action))
                continue
            digest = self.ask("Prepare", request).effect.effect_digest
            about = {"effect_digest": digest, "approved_digest": digest} if method.name == "Apply" else {}
            made.append(method.request(key=key, **about))
        return made


_TREES = ("tree", "base_tree", "result_tree", "from_tree", "to_tree", "expected_head", "trees")
_DIGESTS = ("digest", "effect_digest", "approved_digest", "expected_request_digest", "request_digest")
_ALIASES = {
    "workspace_id": ("workspace_id", "to_workspace_id", "workspace_ids"),
    "run_id": ("run_id", "run_a", "run_b", "run_ids"),
    "next_page_token": ("page_token",),
    **dict.fromkeys(("head_tree", "previous_tree", *_TREES), _TREES),
    **dict.fromkeys(_DIGESTS, _DIGESTS),
}
