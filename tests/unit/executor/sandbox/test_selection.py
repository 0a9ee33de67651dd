"""Which backend is taken: by configuration and by trying, never below the minimum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import Check, Level, Probe, Sandbox, TierReport
from interlock.executor.sandbox.bubblewrap import CAPABILITIES
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.selection import BACKENDS, Choice, Maker, select, try_candidates

CONFINEMENT = Confinement(Path("/nowhere"), Identity(5, 5, switch=False))


@dataclass
class Backend:
    """One that reports what it is told to."""

    name: str
    level: Level
    works: bool
    probed: int = 0

    @property
    def tier(self) -> TierReport:
        return TierReport(self.name, "rlimit+watchdog", "copy")

    @property
    def capabilities(self) -> Any:
        return replace(CAPABILITIES, level=self.level)

    async def probe(self, state: Path) -> Probe:
        self.probed += 1
        return Probe(self.tier, (Check("step", self.works, f"{self.name} speaks", "repair it"),))


def makers(*backends: Backend) -> dict[str, Maker]:
    def maker(backend: Backend) -> Maker:
        return lambda _: cast("Sandbox", backend)

    return {backend.name: maker(backend) for backend in backends}


def choice(minimum: Level) -> Choice:
    return Choice("auto", minimum)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.executor.sandbox.selection.BACKENDS", {"strong": 1, "weak": 2})


pytestmark = pytest.mark.usefixtures("known")


async def test_the_first_that_works_is_taken() -> None:
    strong, weak = Backend("strong", Level.NAMESPACES, True), Backend("weak", Level.LANDLOCK, True)
    taken, probe = await select(choice(Level.LANDLOCK), CONFINEMENT, Path("/"), makers(strong, weak))
    assert taken.tier.backend == probe.tier.backend == "strong"
    assert weak.probed == 0


async def test_the_next_is_taken_when_the_first_does_not_work() -> None:
    backends = makers(Backend("strong", Level.NAMESPACES, False), Backend("weak", Level.LANDLOCK, True))
    taken, _ = await select(choice(Level.LANDLOCK), CONFINEMENT, Path("/"), backends)
    assert taken.tier.backend == "weak"
    trials = await try_candidates(choice(Level.LANDLOCK), CONFINEMENT, Path("/"), backends)
    assert [(trial.backend, trial.usable) for trial in trials] == [("strong", False), ("weak", True)]
    assert trials[0].refusal is not None
    assert "strong speaks" in trials[0].refusal.message


async def test_below_the_minimum_nothing_is_taken_or_even_tried() -> None:
    weak = Backend("weak", Level.LANDLOCK, True)
    backends = makers(Backend("strong", Level.NAMESPACES, False), weak)
    with pytest.raises(InterlockError) as caught:
        await select(choice(Level.NAMESPACES), CONFINEMENT, Path("/"), backends)
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    assert "strong speaks" in caught.value.message
    assert "below the minimum namespaces" in caught.value.message
    assert caught.value.fix
    assert weak.probed == 0


async def test_one_that_was_asked_for_is_not_replaced() -> None:
    backends = makers(Backend("strong", Level.NAMESPACES, False), Backend("weak", Level.LANDLOCK, True))
    with pytest.raises(InterlockError) as caught:
        await select(Choice("strong", Level.LANDLOCK), CONFINEMENT, Path("/"), backends)
    assert caught.value.message == "step: strong speaks"
    assert caught.value.fix == "repair it"


async def test_what_a_backend_refuses_when_it_is_made_is_told() -> None:
    def refuse(_: Confinement) -> Sandbox:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, "a bad mount", field="INTERLOCK_EXTRA_RO_MOUNTS", fix="x"
        )

    weak = Backend("weak", Level.LANDLOCK, False)
    with pytest.raises(InterlockError) as caught:
        await select(choice(Level.LANDLOCK), CONFINEMENT, Path("/"), {"strong": refuse, **makers(weak)})
    assert caught.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("env", "backend", "minimum"),
    [
        ({}, "auto", Level.NAMESPACES),
        ({"INTERLOCK_SANDBOX": "auto", "INTERLOCK_SANDBOX_MINIMUM": "landlock"}, "auto", Level.LANDLOCK),
        ({"INTERLOCK_SANDBOX": "weak"}, "weak", Level.NAMESPACES),
        ({"INTERLOCK_SANDBOX": "STRONG", "INTERLOCK_SANDBOX_MINIMUM": "gvisor"}, "strong", Level.GVISOR),
    ],
)
def test_the_configuration(env: dict[str, str], backend: str, minimum: Level) -> None:
    assert Choice.from_env(env) == Choice(backend, minimum)


def test_landlock_asked_for_by_name_is_its_own_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.executor.sandbox.selection.BACKENDS", BACKENDS)
    assert Choice.from_env({"INTERLOCK_SANDBOX": "landlock"}).minimum is Level.LANDLOCK
    refused = {"INTERLOCK_SANDBOX": "landlock", "INTERLOCK_SANDBOX_MINIMUM": "namespaces"}
    assert Choice.from_env(refused).minimum is Level.NAMESPACES


@pytest.mark.parametrize("name", ["INTERLOCK_SANDBOX", "INTERLOCK_SANDBOX_MINIMUM"])
def test_a_wrong_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InterlockError) as caught:
        Choice.from_env({name: "nonsense"})
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, name)
    assert "strong" in caught.value.message or "gvisor" in caught.value.message
