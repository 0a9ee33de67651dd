"""Long runs by plain chance: far more events than a machine reaches that also shrinks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.support.driven_run import drafted, spec
from tests.support.run_machine import RunMachine
from tests.support.verifying import verifier_tells_the_same

from interlock.orchestrator.domain.model import Budget, Gate, OnFailure, Policy, RejectAction


class Chance:
    """One run of `RunMachine`, driven by the dice of a seed."""

    outcomes = ("changed",) * 7 + ("unchanged", "failed", "unknown", "WORKSPACE_DRIFTED", "PATH_NOT_FOUND")
    verdicts = ("approve",) * 5 + ("reject", "skip", "edit")

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.machine = RunMachine()
        gates = [Gate(self.dice.choice(["none", "command", "effect", "both"])) for _ in range(2)]
        policy = Policy("any", gates[0], gates[1], True, self.dice.choice([None, None, 60_000_000]))
        budget = self.dice.choice([Budget(), Budget(), Budget(0, 6)])
        specs = [self.spec() for _ in range(self.dice.randint(1, 8))]
        self.machine.create(specs=specs, policy=policy, budget=budget, start=True, few=0)

    def spec(self) -> Any:
        options = {"retries": self.dice.choice([0, 0, 2]), "on_failure": self.dice.choice(list(OnFailure))}
        gate = self.dice.choice([None, "none", "command", "effect", "both"])
        kind = self.dice.choice(["read_file", "analyze", "edit_file", "run_command", "drafted", "network"])
        if kind == "drafted":
            return drafted(gate=gate, **options)
        if kind == "network":
            return spec("run_command", gate, command="x", network=["h:1"], **options)
        return spec(kind, gate, **options)

    def one(self) -> None:
        """One thing happens."""
        m, dice = self.machine, self.dice
        picks: list[tuple[int, Callable[[], None]]] = [
            (30, lambda: m.perform(dice.randrange(6), dice.choice(self.outcomes), dice.random() < 0.7)),
            (30, lambda: m.deliver(dice.randrange(6), dice.choice([None, 0, 5]))),
            (
                12,
                lambda: m.decide(
                    dice.choice(self.verdicts), dice.choice(list(RejectAction)), dice.randrange(2), None
                ),
            ),
            (
                6,
                lambda: m.command(
                    dice.choice(["resume", "resume", "execute_next", "pause", "start", "plan"])
                ),
            ),
            (6, lambda: m.amend(dice.choice(["retry_step", "retry_step", "skip_step"]), dice.randrange(12))),
            (4, lambda: m.deliver_again(dice.randrange(40))),
            (2, lambda: m.add_steps([self.spec()])),
            (2, lambda: m.roll_back(dice.randrange(6))),
            (3, lambda: m.revert(dice.randrange(6))),
            (3, lambda: m.redo(dice.randrange(6))),
            (2, m.someone_edits_the_directory),
            (2, m.crash),
            (1, lambda: m.time_passes(dice.choice([1, 61]))),
            (1, lambda: m.cancel(6 if dice.random() < 0.4 else 0)),
        ]
        weights, calls = zip(*picks, strict=True)
        dice.choices(calls, weights)[0]()
        m.abandoned_effects_are_thrown_away()
        m.the_journal_knows_which_effects_are_in_the_workspace()


def long_run(seed: int, things: int) -> None:
    """So many things happen; then people bring the run to its end. Raises AssertionError for a broken law."""
    chance = Chance(seed)
    for _ in range(things):
        chance.one()
    verifier_tells_the_same(chance.machine.run)
    chance.machine.teardown()
