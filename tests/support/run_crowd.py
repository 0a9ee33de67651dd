"""A run with a crowd around it: several people and their agents, delegations, rules, envelopes, decisions kept ahead.

Everything that `run_machine` does happens too. What is added: rules say anything about any step, steps are seen to do
anything, people vote and decide ahead by tokens and delegations that end at any time, and it comes out whose agent
somebody is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.support.driven_run import DrivenRun
from tests.support.executor_double import Result
from tests.support.run_chance import Chance
from tests.support.run_machine import _SPEC, RunMachine
from tests.support.verifying import verifier_tells_the_same

from interlock.common.errors import InterlockError
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_envelope, decide_step
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import parse_time
from interlock.orchestrator.domain.decide_approval import Decision
from interlock.orchestrator.domain.decide_envelope import Grant, Granter
from interlock.orchestrator.domain.early import decide_or_keep
from interlock.orchestrator.domain.envelopes import Observed
from interlock.orchestrator.domain.model import (
    STEP_FINAL,
    Bounds,
    Budget,
    CommandPrefix,
    EnvelopeState,
    Gate,
    Group,
    Policy,
    PolicyVerdict,
    Rule,
    RuleEffect,
    RuleHit,
    Ruling,
    RunState,
    Stage,
    StepState,
    Verdict,
)
from interlock.orchestrator.domain.people import named
from interlock.orchestrator.domain.standing import Right, ended, rights
from interlock.orchestrator.domain.votes import Voter

PEOPLE = ("ann", "bob", "Bob", "carl", "eve", "agent-7")
_RULES = (Rule("r", RuleEffect.DENY, "true"),)
_GROUPS = (Group("core", ("bob", "carl", "eve")),)
_POLICIES = (
    Policy(steps_may_weaken=True),
    Policy(steps_may_weaken=True, rules=_RULES),
    Policy(separate_requester=True, rules=_RULES),
    Policy(stages=(Stage("", 2),), separate_requester=True),
    Policy(stages=(Stage("team", 2, ("group:core",)), Stage("last", 1, ("eve", "ann"))), groups=_GROUPS),
    Policy(stages=(Stage("one", 1, ("bob", "carl")),), rules=_RULES, approval_timeout_us=60_000_000),
    Policy(stages=(Stage("a", 1, ("provider:leads",)), Stage("b", 2, ("provider:core", "carl")))),
    Policy(stages=(Stage("", 2, ("group:mixed",)),), groups=(Group("mixed", ("provider:core", "ann")),)),
)
_PROVIDED = {"ann": ("leads",), "bob": ("core", "leads"), "eve": ("core",), "agent-7": ("core",)}
"""Groups of the provider. Not all are in them by name: `bob` is, `Bob` is not."""
_SEEN = (
    Observed(("src/a",), 10),
    Observed(("src/a", "Makefile"), 10),
    Observed(("src/a",), 10, complete=False),
    Observed(("src/a",), 10, links_out=("src/a",)),
    Observed(),
)
_BOUNDS = (
    Bounds(("src/**",), (CommandPrefix(("make",)),), max_steps=2),
    Bounds(("**",), (CommandPrefix(("make",)), CommandPrefix(("y",)))),
    Bounds(("src/**",), max_bytes=15, max_cost_micros=8),
)
_SAID = st.sampled_from(["default", "default", "allow", "require", "require always", "deny"])


def ruling(said: str, *, observed: bool) -> Ruling:
    """What rules come to, in a word or two."""
    word, _, always = said.partition(" ")
    hits = () if word == "default" else (RuleHit("p", "r", RuleEffect(word), observed=observed),)
    verdict, digest = PolicyVerdict(word), "sha256:" + "1" * 64
    return Ruling(verdict, digest, rules=hits, observed=observed, previews=observed, always=bool(always))


class CrowdRun(DrivenRun):
    """What rules say is `said`, over what a step asks for and over what it did."""

    said = "default"

    def perform(self, action: a.Action, outcome: str = "changed", *, disjoint: bool = True) -> Result:
        if isinstance(action, a.Judge):
            return "ok", ruling(self.said, observed=False)
        return super().perform(action, outcome, disjoint=disjoint)

    def outcome(self, action: a.Action, result: Result, cost: int | None = 5) -> list[e.Event]:
        kind, value = result
        if isinstance(action, a.Judge):
            return decide_step.judged(self.run, self.ctx(), action.step, action.attempt, value)
        step = self.run.step(action.step) if isinstance(action, a.Prepare) else None
        if kind == "ok" and isinstance(action, a.Prepare) and step is not None and step.judge:
            effect, failure = value
            found = ruling(self.said, observed=True) if failure is None else None
            return decide_step.prepared(
                self.run, self.ctx(), action.step, action.attempt, effect, failure, found, self.seen
            )
        return super().outcome(action, result, cost)


class CrowdMachine(RunMachine):
    """`RunMachine`, and people."""

    @initialize(
        specs=st.lists(_SPEC, max_size=6),
        policy=st.sampled_from(_POLICIES),
        budget=st.sampled_from([Budget(), Budget(), Budget(0, 3)]),
        start=st.just(True),
    )
    def create(self, specs: list[Any], policy: Policy, budget: Budget, start: bool) -> None:
        if not policy.steps_may_weaken:
            specs = [each for each in specs if each.gate in (None, Gate.BOTH)]
        self.run = CrowdRun(specs, policy=policy, budget=budget, start=start and bool(specs))
        self.in_flight: dict[a.Action, Result | None] = {}
        self.delivered: list[tuple[a.Action, Result]] = []
        self.tokens = dict.fromkeys(PEOPLE, 0)
        self.over: set[Right] = set()
        self.dispatch()

    @property
    def crowd(self) -> CrowdRun:
        assert isinstance(self.run, CrowdRun)
        return self.run

    def dispatch(self) -> None:
        """Each transaction begins by taking back what has ended; here it is done at the end of the one before."""
        run, now = self.run.run, self.run.now
        over = dict.fromkeys(self.over & rights(run, now), "It was revoked.")
        if taken := ended(run, now, over):
            self.run.tx(taken)
        super().dispatch()

    def right(self, by: str, place_of: str) -> Right:
        """By which token somebody acts now and, in somebody else's place, by which delegation."""
        given = f"dlg-{place_of}-{by}-{self.tokens[place_of]}" if place_of else ""
        return Right(f"token:{by}-{self.tokens[by]}", given)

    def people(self, decide: Callable[[], list[e.Event]]) -> None:
        before = self.run.run
        try:
            self.run.tx(decide())
        except InterlockError:
            assert self.run.run is before
        self.dispatch()

    @rule(said=_SAID, seen=st.sampled_from(_SEEN))
    def what_comes(self, said: str, seen: Observed) -> None:
        self.crowd.said, self.run.seen = said, seen

    @rule(by=st.sampled_from(PEOPLE), place_of=st.sampled_from(["", "", *PEOPLE]))
    def vote(self, by: str, place_of: str) -> None:
        step = self.run.run.current
        if step is None or step.approval is None:
            return
        place_of = place_of if place_of != by else ""
        right = self.right(by, place_of)
        before = self.run.run
        try:
            self.run.decide(
                by=by,
                on_behalf_of=place_of,
                authentication=right.authentication,
                delegation=right.delegation,
                groups=_PROVIDED.get(by, ()),
            )
        except InterlockError:
            assert self.run.run is before
        self.dispatch()

    @rule(
        by=st.sampled_from(PEOPLE),
        place_of=st.sampled_from(["", *PEOPLE]),
        verdict=st.sampled_from(["approve"] * 4 + ["reject", "skip"]),
        right_one=st.sampled_from([True, True, False]),
    )
    def ahead(self, by: str, place_of: str, verdict: str, right_one: bool) -> None:
        """About what the next step will ask before it runs, or about something else."""
        run = self.run.run
        step = next((s for s in run.steps if s.state in (StepState.PENDING, StepState.PREPARING)), None)
        if step is None:
            return
        place_of = place_of if place_of != by else ""
        right = self.right(by, place_of)
        about = self.run.executor.request(step.spec, self.run.executor.head, step.draft_payload)
        decision = Decision(
            Verdict(verdict),
            about if right_one else "sha256:" + "7" * 64,
            by,
            authentication=right.authentication,
            on_behalf_of=place_of,
            delegation=right.delegation,
            groups=_PROVIDED.get(by, ()),
        )
        self.people(lambda: decide_or_keep(run, self.run.ctx(by), step.number, decision))

    @rule(by=st.sampled_from(PEOPLE), place_of=st.sampled_from(["", "bob", "eve"]), pick=st.integers(0, 2))
    def grant(self, by: str, place_of: str, pick: int) -> None:
        place_of = place_of if place_of != by else ""
        right = self.right(by, place_of)
        who = Granter(
            Voter(by, place_of, _PROVIDED.get(by, ())), right.authentication, delegation=right.delegation
        )
        asked = Grant(_BOUNDS[pick], 0 if pick else 90_000_000)
        self.people(lambda: decide_envelope.grant(self.run.run, self.run.ctx(by), asked, who))

    @rule(pick=st.integers(0, 5))
    def take_back(self, pick: int) -> None:
        envelopes = self.run.run.envelopes
        if envelopes:
            which = envelopes[pick % len(envelopes)].envelope_id
            self.people(lambda: decide_envelope.revoke(self.run.run, self.run.ctx("ann"), which))

    @rule(who=st.sampled_from(PEOPLE))
    def token_ends(self, who: str) -> None:
        """Somebody's token is revoked, and with it what they gave; they get another one."""
        run, now = self.run.run, self.run.now
        mine = f"token:{who}-{self.tokens[who]}"
        given = (f"dlg-{who}-", f"-{self.tokens[who]}")
        self.over |= {
            each
            for each in rights(run, now)
            if each.authentication == mine
            or (each.delegation.startswith(given[0]) and each.delegation.endswith(given[1]))
        }
        self.tokens[who] += 1
        self.dispatch()

    @rule(agent=st.sampled_from(["agent-7", "Bob", "carl"]), owner=st.sampled_from(["ann", "bob", "eve"]))
    def it_comes_out_whose_agent(self, agent: str, owner: str) -> None:
        self.people(lambda: named(self.run.run, {agent: owner}))

    @invariant()
    def what_stands_stands_by_a_right(self) -> None:
        run = self.run.run
        if run.state in (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED):
            return
        for each in run.envelopes:
            right = Right(each.authentication, each.delegation)
            assert each.state is not EnvelopeState.ACTIVE or right not in self.over, "used after its end"
        for step in run.steps:
            for kept in step.early if step.state not in STEP_FINAL else ():
                stands = parse_time(kept.until) > self.run.now
                assert not stands or Right(kept.authentication, kept.delegation) not in self.over

    def _answer(self, expires_at: str) -> None:
        """Whoever may approve does; where nobody may any more, the step is passed over."""
        self.crowd.said = "default"
        step = self.run.current
        assert step.approval is not None
        asked = step.approval
        if asked.expires_at and self.run.now >= parse_time(asked.expires_at):
            self.run.act(a.Due)
            return
        for who in PEOPLE:
            now = self.run.run.current
            if now is None or now.approval is None or now.approval.approval_id != asked.approval_id:
                return
            try:
                self.run.decide(by=who, groups=_PROVIDED.get(who, ()))
            except InterlockError:
                continue
        now = self.run.run.current
        if now is not None and now.approval is not None and now.approval.approval_id == asked.approval_id:
            self.run.decide("skip", by="ann")


class Crowd(Chance):
    """One run of `CrowdMachine`, driven by the dice of a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.machine = self.crowd = CrowdMachine()
        policy, budget = self.dice.choice(_POLICIES), self.dice.choice([Budget(), Budget(), Budget(0, 6)])
        specs = [self.spec() for _ in range(self.dice.randint(3, 10))]
        self.crowd.create(specs=specs, policy=policy, budget=budget, start=True)

    def one(self) -> None:
        """One thing happens."""
        m, dice = self.crowd, self.dice
        if dice.random() < 0.6:
            super().one()
            m.what_stands_stands_by_a_right()
            return
        who, place_of = dice.choice(PEOPLE), dice.choice(("", "", *PEOPLE))
        picks: list[tuple[int, Callable[[], None]]] = [
            (12, lambda: m.vote(who, place_of)),
            (6, lambda: m.ahead(who, place_of, dice.choice(self.verdicts[:-1]), dice.random() < 0.8)),
            (4, lambda: m.grant(who, dice.choice(["", "bob", "eve"]), dice.randrange(3))),
            (8, lambda: m.what_comes(dice.choice(_WORDS), dice.choice(_SEEN))),
            (2, lambda: m.token_ends(who)),
            (1, lambda: m.take_back(dice.randrange(6))),
            (
                1,
                lambda: m.it_comes_out_whose_agent(
                    dice.choice(["agent-7", "Bob"]), dice.choice(["ann", "eve"])
                ),
            ),
        ]
        weights, calls = zip(*picks, strict=True)
        dice.choices(calls, weights)[0]()
        m.abandoned_effects_are_thrown_away()
        m.what_stands_stands_by_a_right()


_WORDS = ("default", "default", "allow", "require", "require always", "deny")


def crowded_run(seed: int, things: int) -> CrowdMachine:
    """So many things happen; then people bring the run to its end. Raises AssertionError for a broken law."""
    crowd = Crowd(seed)
    for _ in range(things):
        crowd.one()
    verifier_tells_the_same(crowd.crowd.run)
    crowd.crowd.teardown()
    return crowd.crowd
