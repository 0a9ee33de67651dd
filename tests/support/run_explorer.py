"""Every order in which two orchestrators, an executor and a deciding person can act on one run, to a bounded depth.

The database is one run with its journal (`DrivenRun`, which checks every law after every transaction); an orchestrator
is what it last saw, its epoch, and answers that it has not delivered. It may fall behind, lose its lease and act on,
die with an answer in hand, and wake late. The executor refuses epochs older than it has seen. States that differ in
times, ids and digests of the chain alone are one state.
"""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.driven_run import DrivenRun
from tests.support.executor_double import Executor, Result

from interlock.common.errors import InterlockError
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import RUN_FINAL, Run, StepSpec

Move = tuple[str, ...]
COMMANDS = ("pause", "resume", "cancel", "retry_step", "skip_step")
PASSING = re.compile(
    r"datetime\.datetime\([^)]*\)|\b(?:seq|ended_seq|asked)=\d+|head='[^']*'|(?:apr|op)-\d+|tzinfo=\S+"
)


@dataclass
class Orchestrator:
    """One process: the run as it saw it, its epoch (0: it drives nothing), and what came of its actions."""

    epoch: int = 0
    seen: Run | None = None
    answers: dict[a.Action, Result] = field(default_factory=dict)


@dataclass
class World:
    """Everything there is."""

    database: DrivenRun
    one: Orchestrator = field(default_factory=Orchestrator)
    two: Orchestrator = field(default_factory=Orchestrator)
    epoch: int = 0
    executor_epoch: int = 0
    people: int = 0

    def key(self) -> str:
        """The same for worlds that differ in nothing that counts."""
        parts = (
            self.database.run,
            sorted(self.database.executor.effects.items()),
            self.epoch - self.executor_epoch,
            self.people,
            *(
                (self.epoch - o.epoch if o.epoch else -1, o.seen, list(o.answers.items()))
                for o in self.both()
            ),
        )
        return PASSING.sub("", repr(parts))

    def both(self) -> tuple[Orchestrator, Orchestrator]:
        return self.one, self.two

    def branch(self) -> World:
        """A copy that can go another way."""
        database = _apart(self.database)
        database.laws, database.executor = _apart(database.laws), _apart(database.executor)
        database.executor.effects = {k: replace(v) for k, v in database.executor.effects.items()}
        out = copy.copy(self)
        out.database, out.one, out.two = database, _apart(self.one), _apart(self.two)
        return out

    # -- moves

    def moves(self, most_people: int) -> Iterator[Move]:
        """What can happen next."""
        run = self.database.run
        for name, it in zip(("one", "two"), self.both(), strict=True):
            if (not it.epoch or it.epoch != self.epoch) and a.actions(run):
                yield ("claim", name)
            if it.epoch:
                yield ("die", name)
                if it.seen is not None and it.seen.seq != run.seq:
                    yield ("look", name)
                for number, action in enumerate(self._wanted(it)):
                    yield ("deliver" if action in it.answers else "act", name, str(number))
        if self.people < most_people:
            if run.current is not None and run.current.approval is not None:
                yield from (("decide", verdict) for verdict in ("approve", "reject", "skip"))
            yield from (("command", command) for command in COMMANDS)

    @staticmethod
    def _wanted(it: Orchestrator) -> Sequence[a.Action]:
        wanted = a.actions(it.seen) if it.seen is not None else ()
        late = [action for action in it.answers if action not in wanted]
        return [*(action for action in wanted if not isinstance(action, a.Due)), *late]

    def do(self, move: Move) -> bool:
        """Carries it out; False where it is refused, which is as if it had not been tried."""
        what, *rest = move
        return bool(getattr(self, f"_{what}")(*rest))

    def _claim(self, name: str) -> bool:
        """The other one's lease has run out, whether it knows or not."""
        self.epoch += 1
        setattr(self, name, Orchestrator(self.epoch, self.database.run))
        return True

    def _die(self, name: str) -> bool:
        setattr(self, name, Orchestrator())
        return True

    def _look(self, name: str) -> bool:
        it: Orchestrator = getattr(self, name)
        it.seen = self.database.run
        return True

    def _act(self, name: str, number: str) -> bool:
        """It calls the executor, with its own epoch, for what it has seen."""
        it: Orchestrator = getattr(self, name)
        action = self._wanted(it)[int(number)]
        if it.epoch < self.executor_epoch:
            setattr(self, name, Orchestrator())  # EPOCH_STALE: it gives up
            return True
        self.executor_epoch = it.epoch
        assert it.seen is not None
        it.answers[action] = self._performed(it.seen, action)
        return True

    def _performed(self, seen: Run, action: a.Action) -> Result:
        executor: Executor = self.database.executor
        if isinstance(action, a.Apply):
            self.database.laws.may_perform(seen, action)
            known = executor.effects.get((action.step, action.attempt))
            if known is not None and known.state == "DISCARDED":
                return _gone()  # an owner that is late, as the executor answers it
            return executor.apply(seen, action, disjoint=True)
        if isinstance(action, a.Discard):
            known = executor.effects.get((action.step, action.attempt))
            return (
                ("ok", None) if known is not None and known.state == "APPLIED" else executor.discard(action)
            )
        if isinstance(action, a.Propose):
            return executor.propose(seen, action)
        assert isinstance(action, a.Prepare), action
        return executor.prepare(seen, action, "changed")

    def _deliver(self, name: str, number: str) -> bool:
        """It tells the database, which knows its epoch."""
        it: Orchestrator = getattr(self, name)
        action = self._wanted(it)[int(number)]
        result = it.answers.pop(action)
        if it.epoch != self.epoch:
            setattr(self, name, Orchestrator())  # LEASE_LOST
            return True
        self.database.deliver(action, result)
        it.seen = self.database.run
        return True

    def _decide(self, verdict: str) -> bool:
        return self._by_person(lambda: self.database.decide(verdict))

    def _command(self, name: str) -> bool:
        steps = [1] if name in ("retry_step", "skip_step") else []
        return self._by_person(lambda: self.database.command(name, *steps))

    def _by_person(self, act: Callable[[], Any]) -> bool:
        self.people += 1
        try:
            return bool(act())
        except InterlockError:
            return False


def _gone() -> Result:
    from tests.support.executor_double import error

    return error("EFFECT_DISCARDED")


def _apart(thing: Any) -> Any:
    """A copy whose containers are its own; what is in them cannot change."""
    out = copy.copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, (dict, list, set)):
            setattr(out, name, copy.copy(value))
    if getattr(out, "approved", None):
        out.approved = {key: list(given) for key, given in out.approved.items()}
    return out


@dataclass
class Explored:
    """What an exploration came by."""

    worlds: int = 0
    ended: set[str] = field(default_factory=set)
    fenced: int = 0
    whole: bool = True


def explore(
    steps: Sequence[StepSpec], *, depth: int, people: int = 2, most: int = 3000, **settings: Any
) -> Explored:
    """Every world within `depth` moves, breadth first, at most `most` of them. A broken law raises, with the moves."""
    start = World(DrivenRun(steps, start=True, **settings))
    found = Explored()
    known = {start.key()}
    queue: deque[tuple[World, tuple[Move, ...]]] = deque([(start, ())])
    while queue:
        world, path = queue.popleft()
        found.worlds += 1
        found.ended |= {world.database.run.state.value} if world.database.run.state in RUN_FINAL else set()
        found.fenced += any(o.epoch and o.epoch < world.epoch for o in world.both())
        if len(path) == depth:
            found.whole = False
            continue
        for move in list(world.moves(people)):
            after = world.branch()
            try:
                if not after.do(move):
                    continue
                _one_writer(after)
            except BaseException as error:
                error.add_note(f"after {[*path, move]}")
                raise
            if (key := after.key()) not in known and len(known) < most:
                known.add(key)
                queue.append((after, (*path, move)))
            elif key not in known:
                found.whole = False
    return found


def _one_writer(world: World) -> None:
    """Laws 3 and 8: an attempt that the journal says took effect did, and no step took effect by two attempts."""
    published: dict[int, set[int]] = {}
    for (step, attempt), effect in world.database.executor.effects.items():
        if effect.state == "APPLIED":
            published.setdefault(step, set()).add(attempt)
    assert all(len(attempts) == 1 for attempts in published.values()), f"published twice: {published}"
    for step in world.database.run.steps:
        if step.state.value == "SUCCEEDED" and step.prepared is not None and step.prepared.changes_tree:
            assert published.get(step.number) == {step.attempt}, "what the journal tells has happened"
        if step.state.value in ("SKIPPED", "REJECTED", "CANCELLED"):
            assert step.number not in published, f"step {step.number} is {step.state} and took effect"
