"""Random programs over a real installation, followed by a model that is a plain in-memory tree.

An action is data, so that hypothesis can shrink a program that fails:

    ("outside", program)            somebody changes the live directory
    ("run", [program, …], gate)     a new run of commands, one step each
    ("decide", verdict)             about what is pending: approve, skip, reject-skip or reject-fail
    ("rollback", run, step)         one of the finished runs, back to after one of its steps
    ("revert", run, step)           one step of a finished run taken out again
    ("fork", run, step)             a new run on a new workspace with the tree after a step
    ("kill", services)              SIGKILL; the supervisor starts them again
    ("while", services, after, action)   the action, and the services killed `after` milliseconds into it

An action that does not fit the state (nothing is pending, no run has ended) does nothing. After each the live
directory, the head id, what is shown for approval and every step's tree are compared with the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support import trees_mutator
from tests.support.escrow_model import Program, after, changed, folded, merged, tree_id
from tests.support.installation import Installation, wait_until
from tests.support.trees import Tree, mutate, read_tree
from tests.support.working import pending, state, states

from interlock.client import FINAL_RUN_STATES, Client, InterlockError
from interlock.client.retry import may_repeat
from interlock.v1.policy_pb2 import Gate, Policy
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import Argv, RunCommandInput, StepInput, StepSpec
from interlock.verify import verify_bundle

_SOURCE = Path(trees_mutator.__file__).read_text(encoding="utf-8").partition("if __name__")[0]
_MAIN = _SOURCE + "run(b'.', ast.literal_eval(sys.argv[1]))\n"
T = TypeVar("T")
Moved = tuple[Tree, str, Tree | None]
GATES = {"effect": Gate.GATE_EFFECT, "none": Gate.GATE_NONE, "command": Gate.GATE_COMMAND}


def step(program: Program, gate: str) -> StepSpec:
    """A command that carries the program out in its working directory."""
    command = RunCommandInput(argv=Argv(items=["/usr/bin/python3", "-c", _MAIN, repr(program)]))
    return StepSpec(input=StepInput(run_command=command), gate=GATES[gate])


@dataclass
class Known:
    """A run as the model sees it: the head before its first step, and after each step that has ended."""

    run_id: str
    programs: list[Program]
    gate: str
    base: Tree
    head: Tree
    ends: list[tuple[str, Tree]] = field(default_factory=list)
    effects: list[tuple[Tree, Tree] | None] = field(default_factory=list)
    in_place: set[int] = field(default_factory=set)
    ended: bool = False

    def tree_after(self, number: int) -> Tree:
        return self.ends[number - 1][1] if number else self.base

    def changes_back(self, number: int) -> list[tuple[Tree, Tree]]:
        """From, to: what is there and was not then, the last first; then what was there and is not."""
        wanted = {each for each, effect in enumerate(self.effects, 1) if effect and each <= number}
        outs = [self.effects[each - 1] for each in sorted(self.in_place - wanted, reverse=True)]
        ins = [self.effects[each - 1] for each in sorted(wanted - self.in_place)]
        return [(e[1], e[0]) for e in outs if e] + [e for e in ins if e]


@dataclass
class Escrow:
    """One workspace of an installation, and what should be in it."""

    up: Installation
    client: Client
    directory: Path
    workspace: str
    live: Tree
    head: Tree
    runs: list[Known] = field(default_factory=list)
    heads: list[Moved] = field(default_factory=list)
    shown: Any = None
    base: Tree = field(default_factory=dict)
    result: Tree = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heads.append((self.head, "import", self.head))

    async def do(self, action: tuple[Any, ...]) -> None:
        """Carry out one action and compare everything."""
        name, *arguments = action
        if name == "while":
            await self._killed_meanwhile(*arguments)
        else:
            await self._plain(action)
        await self._agrees()

    async def _plain(self, action: tuple[Any, ...]) -> None:
        name, *arguments = action
        await getattr(self, name)(*arguments)

    async def _killed_meanwhile(self, services: tuple[str, ...], delay: int, action: tuple[Any, ...]) -> None:
        under_way = asyncio.ensure_future(self._plain(action))
        await asyncio.sleep(delay / 1000)
        self._kill(services)
        await under_way

    # ---- actions

    async def outside(self, program: Program) -> None:
        mutate(bytes(self.directory), program)
        self.live = after(self.live, program)

    async def run(self, programs: list[Program], gate: str) -> None:
        if self.active is not None:
            return
        steps = [step(program, gate) for program in programs]
        free = Policy(steps_may_weaken=True)
        made = await self.client.create_run("escrow", self.workspace, steps, policy=free, start=True)
        self.runs.append(Known(made.run_id, programs, gate, self.live, self.live))
        await self._settle()

    async def decide(self, verdict: str) -> None:
        known = self.active
        if known is None or self.shown is None:
            return
        shown, self.shown = self.shown, None
        if verdict == "approve":
            await self.client.decide(shown, "approve")
            await self._approved(known, shown)
        elif verdict == "skip":
            await self.client.decide(shown, "skip")
            self._ends(known, "SKIPPED")
        else:
            await self.client.decide(shown, "reject", on_reject=verdict.removeprefix("reject-"))
            self._ends(known, "REJECTED")
        await self._settle()

    async def rollback(self, run: int, number: int) -> None:
        """Around what others did; and where that is refused, over it."""
        known = self._finished(run)
        if known is None:
            return
        to = number % (len(known.ends) + 1)
        goal = known.tree_after(to)
        changes = [(known.head, goal)] if self._alone(known, goal) else known.changes_back(to)
        target = folded(self.live, changes)
        answer, refused = await _outcome(self.client.rollback_run(known.run_id, to))
        if target is None and refused:
            assert refused == "REVERT_CONFLICT"
            forced = self.client.rollback_run(known.run_id, to, discard_later_changes=True)
            answer, refused = await _outcome(forced)
            target = goal
        assert answer is not None, refused
        self._took_back(known, answer, target)
        known.in_place = {each for each, effect in enumerate(known.effects, 1) if effect and each <= to}

    async def revert(self, run: int, number: int) -> None:
        known = self._finished(run)
        if known is None:
            return
        which = number % len(known.ends) + 1
        answer, refused = await _outcome(self.client.revert_step(known.run_id, which))
        if which not in known.in_place:
            assert refused == "STEP_WRONG_STATE", (refused, answer)
            return
        effect = known.effects[which - 1]
        assert effect is not None
        base, result = effect
        target = merged(result, base, self.live)
        if target is None and refused:
            assert refused == "REVERT_CONFLICT"
            return
        assert answer is not None, refused
        self._took_back(known, answer, target)
        known.in_place.discard(which)

    def _took_back(self, known: Known, answer: Any, target: Tree | None) -> None:
        """What somebody had done became the head first; the answer tells what came after that, and nothing else."""
        before = self.live
        assert answer.previous_tree == tree_id(before), "what somebody did is not told apart"
        # Where whole paths overlap, texts may still merge by lines: that has tests of its own.
        tree = read_tree(self.directory) if target is None else target
        self._noticed(known)
        self._moved(known, tree, tree)
        assert answer.head_tree == tree_id(self.live)
        told = {change.path for change in answer.changes}
        assert bool(told) == bool(changed(before, tree))

    async def fork(self, run: int, number: int) -> None:
        known = self._finished(run)
        if known is None:
            return
        at = number % (len(known.ends) + 1)
        child = await self.client.fork_run(known.run_id, at)
        workspace = await self.client.get_workspace(child.workspace_id)
        assert workspace.head_tree == tree_id(known.tree_after(at)), "the fork's head"
        assert read_tree(workspace.path) == known.tree_after(at), "the fork's directory"
        await self.client.cancel_run(child.run_id)

    async def kill(self, services: tuple[str, ...]) -> None:
        self._kill(services)

    # ---- what follows from them

    @property
    def active(self) -> Known | None:
        return self.runs[-1] if self.runs and not self.runs[-1].ended else None

    def _finished(self, run: int) -> Known | None:
        """One of the runs that have ended, while none is under way."""
        ended = [known for known in self.runs if known.ended and known.ends]
        return ended[run % len(ended)] if ended and self.active is None else None

    async def _settle(self) -> None:
        """Until the run waits for a decision or has ended, with every step that ended on the way checked."""
        known = self.active
        assert known is not None
        run = await self._resting(known)
        while known.gate == "none" and len(known.ends) < len(known.programs):
            self._takes_effect(known, self.live)
        if run.state in FINAL_RUN_STATES:
            known.ended = True
            self.shown = None
            return
        self.shown = await pending(self.client, run)
        self._reviewed(known)

    def _reviewed(self, known: Known) -> None:
        """What is shown is what the model computes on the live directory as it is."""
        self._noticed(known)
        self.base = self.live
        self.result = after(self.live, known.programs[len(known.ends)])
        effect = self.shown.preview
        assert effect.base_tree == tree_id(self.base), "the preview stands on another tree"
        if known.gate == "effect":
            assert effect.result_tree == tree_id(self.result), "another result is shown"

    async def _approved(self, known: Known, shown: Any) -> None:
        expected = merged(self.base, self.result, self.live)
        if known.gate == "command":
            expected = self.result if self.live == self.base else None
        if known.gate == "effect" and self.result == self.base:
            self._ends(known, "SUCCEEDED")  # nothing to publish: nothing is looked at
        elif expected is None:
            await self._asked_again(known, shown)
        else:
            self._ends(known, "SUCCEEDED", expected, (self.base, self.result))
            self._moved(known, expected, self.result)

    async def _asked_again(self, known: Known, shown: Any) -> None:
        """Somebody changed the same paths: nothing was published, and the next question is a new one."""
        run = await self._resting(known, but_not=shown.approval_id)
        assert run.state not in FINAL_RUN_STATES, run
        again = await pending(self.client, run)
        assert again.digest != shown.digest

    def _takes_effect(self, known: Known, before: Tree) -> None:
        self._noticed(known)
        result = after(before, known.programs[len(known.ends)])
        self._ends(known, "SUCCEEDED", result, (before, result))
        if result != before:
            self._moved(known, result, result)

    def _noticed(self, known: Known) -> None:
        """What somebody did to the directory becomes the head before a step is computed on it."""
        if self.live != self.head:
            self.heads.append((self.live, "drift", self.head))
        self.head = known.head = self.live

    def _moved(self, known: Known, tree: Tree, asked: Tree | None) -> None:
        """A publication made `tree` the head; without anybody else's changes it would have been `asked`."""
        if tree != self.head:
            self.heads.append((tree, known.run_id, asked))
        self.live = self.head = known.head = tree

    def _alone(self, known: Known, goal: Tree) -> bool:
        """Whether nobody else changed the workspace between a run's head and the tree that it goes back to."""
        end = max((at + 1 for at, moved in enumerate(self.heads) if moved[0] == known.head), default=0)
        start = max((at + 1 for at, moved in enumerate(self.heads[:end]) if moved[0] == goal), default=0)
        between = self.heads[max(start, 1) : end]
        others = {moved[1] for moved in self.heads[start:end]} - {"drift", known.run_id}
        if others or not self._only_drift_since(known.head):
            return False
        return not _others(between) & changed(known.head, goal)

    def _only_drift_since(self, tree: Tree) -> bool:
        for head, cause, _ in reversed(self.heads):
            if head == tree:
                return True
            if cause != "drift":
                return False
        return False

    def _ends(
        self, known: Known, how: str, tree: Tree | None = None, effect: tuple[Tree, Tree] | None = None
    ) -> None:
        changed = effect is not None and effect[0] != effect[1]
        known.effects.append(effect if changed else None)
        if changed:
            known.in_place.add(len(known.effects))
        known.ends.append((how, self.head if tree is None else tree))

    async def _resting(self, known: Known, but_not: str = "") -> Run:
        """The run once it waits for a decision (another than `but_not`) or has ended."""
        async with asyncio.timeout(90):
            while True:
                try:
                    run = await self.client.get_run(known.run_id)
                    if run.state in FINAL_RUN_STATES:
                        return run
                    if state(run) == "AWAITING_APPROVAL" and await self._asks(run, but_not):
                        return run
                except InterlockError as error:
                    if not may_repeat(error):
                        raise
                await asyncio.sleep(0.01)

    async def _asks(self, run: Run, but_not: str) -> bool:
        number = len(self.runs[-1].ends) + 1
        step_state = states(run)[number - 1] if number <= len(run.steps) else ""
        if step_state != "AWAITING_APPROVAL":
            return False
        shown: str = (await pending(self.client, run)).approval_id
        return shown != but_not

    # ---- comparing

    async def _agrees(self) -> None:
        assert read_tree(self.directory) == self.live, "the live directory"
        workspace = await self.client.get_workspace(self.workspace)
        assert workspace.head_tree == tree_id(self.head), "the head"
        for known in self.runs[-2:]:
            run = await self.client.get_run(known.run_id)
            for (how, tree), told, what in zip(known.ends, run.steps, states(run), strict=False):
                assert what == how, (how, what, told.failure)
                if how == "SUCCEEDED":
                    assert told.head_tree == tree_id(tree), "the tree after a step"

    async def journals_verify(self) -> None:
        """Every run's bundle, checked offline."""
        for known in self.runs:
            bundle = b"".join([part async for part in self.client.export_journal(known.run_id)])
            report = verify_bundle(bundle.splitlines(keepends=True))
            assert report.ok, (known.run_id, report.problems)

    def _kill(self, services: tuple[str, ...]) -> None:
        for service in services:
            wait_until(lambda service=service: self.up.pid(service), what=f"{service} is back")
        self.up.kill(*services)


def _others(moves: list[Moved]) -> set[bytes]:
    """Paths that somebody else changed."""
    return {path for tree, _, asked in moves for path in changed(asked or {}, tree)}


async def _outcome(call: Awaitable[T]) -> tuple[T | None, str]:
    """The answer, or the reason it was refused for."""
    try:
        return await call, ""
    except InterlockError as error:
        return None, error.reason.value
