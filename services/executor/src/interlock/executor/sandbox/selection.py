"""Which backend confines steps: configured, tried at the start, never below the configured minimum."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common.config import env_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import Level, Probe, Sandbox
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.selftest import require

AUTO: Final = "auto"
_FIX: Final = "Run `interlock doctor`; it says what this machine lacks for each sandbox."

Maker = Callable[[Confinement], Sandbox]


def _bubblewrap(confinement: Confinement) -> Sandbox:
    from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox

    return BubblewrapSandbox(confinement)


def _landlock(confinement: Confinement) -> Sandbox:
    from interlock.executor.sandbox.landlock import LandlockSandbox

    return LandlockSandbox(confinement)


def _oci(confinement: Confinement) -> Sandbox:
    from interlock.executor.sandbox.oci import OciSandbox

    return OciSandbox(confinement)


def _gvisor(confinement: Confinement) -> Sandbox:
    from interlock.executor.sandbox.gvisor import GvisorSandbox

    return GvisorSandbox(confinement)


BACKENDS: Final[Mapping[str, Maker]] = {
    "bubblewrap": _bubblewrap,
    "oci": _oci,
    "gvisor": _gvisor,
    "landlock": _landlock,
}
"""By the name that INTERLOCK_SANDBOX has for it; `auto` tries them in this order. A Kubernetes backend goes here."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was configured.

    Args:
        backend: a name of `BACKENDS`, or `auto`: the first that works.
        minimum: less than this must not be used.
    """

    backend: str
    minimum: Level

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Choice:
        """INTERLOCK_SANDBOX (auto), INTERLOCK_SANDBOX_MINIMUM (landlock, namespaces, gvisor).

        The minimum is `namespaces`, and `landlock` where that backend is asked for by name.
        Raises InterlockError(INVALID_ARGUMENT).
        """
        backend = _one_of("INTERLOCK_SANDBOX", AUTO, (AUTO, *BACKENDS), env)
        usual = Level.LANDLOCK if backend == "landlock" else Level.NAMESPACES
        levels = {level.name.lower(): level for level in Level}
        named = _one_of("INTERLOCK_SANDBOX_MINIMUM", usual.name.lower(), tuple(levels), env)
        return cls(backend, levels[named])

    @property
    def candidates(self) -> tuple[str, ...]:
        """The backends to try, in order."""
        return tuple(BACKENDS) if self.backend == AUTO else (self.backend,)


def _one_of(name: str, default: str, known: tuple[str, ...], env: Mapping[str, str] | None) -> str:
    text = env_text(name, default, env).lower()
    if text in known:
        return text
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{name} must be one of {', '.join(known)}, not {text[:40]!r}.",
        field=name,
        fix="Correct or unset it.",
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """One backend that was tried: what its self-test found, or why there was none."""

    backend: str
    sandbox: Sandbox | None
    probe: Probe | None
    refusal: InterlockError | None

    @property
    def usable(self) -> bool:
        """Whether steps can run in it."""
        return self.refusal is None


async def select(
    choice: Choice, confinement: Confinement, state: Path, backends: Mapping[str, Maker] = BACKENDS
) -> tuple[Sandbox, Probe]:
    """The first candidate that works and is strong enough.

    Raises InterlockError(SANDBOX_UNAVAILABLE) with what each candidate lacks; INVALID_ARGUMENT.
    """
    trials = await try_candidates(choice, confinement, state, backends)
    last = trials[-1]
    if last.usable and last.sandbox is not None and last.probe is not None:
        return last.sandbox, last.probe
    raise _refusal(choice, trials)


async def try_candidates(
    choice: Choice, confinement: Confinement, state: Path, backends: Mapping[str, Maker] = BACKENDS
) -> list[Trial]:
    """Try one candidate after the other until one is usable, which then is the last of the list."""
    trials: list[Trial] = []
    for name in choice.candidates:
        trials.append(await _try(name, backends[name], choice, confinement, state))
        if trials[-1].usable:
            break
    return trials


async def _try(name: str, make: Maker, choice: Choice, confinement: Confinement, state: Path) -> Trial:
    sandbox: Sandbox | None = None
    probe: Probe | None = None
    try:
        sandbox = await asyncio.to_thread(make, confinement)
        _check_level(sandbox, choice.minimum)
        probe = await sandbox.probe(state)
        require(probe)
    except InterlockError as error:
        return Trial(name, sandbox, probe, error)
    return Trial(name, sandbox, probe, None)


def _check_level(sandbox: Sandbox, minimum: Level) -> None:
    level = sandbox.capabilities.level
    if level < minimum:
        raise InterlockError(
            Reason.SANDBOX_UNAVAILABLE,
            f"The {sandbox.tier.backend} sandbox is of level {level.name.lower()}, below the minimum "
            f"{minimum.name.lower()}.",
            field="INTERLOCK_SANDBOX_MINIMUM",
            fix=f"Make a stronger sandbox work, or accept this one: INTERLOCK_SANDBOX_MINIMUM={level.name.lower()}.",
        )


def _refusal(choice: Choice, trials: list[Trial]) -> InterlockError:
    refusals = [(trial.backend, trial.refusal) for trial in trials if trial.refusal is not None]
    if len(refusals) == 1:
        return refusals[0][1]
    # A configuration error is everybody's: say it as it is.
    for _, error in refusals:
        if error.reason is not Reason.SANDBOX_UNAVAILABLE:
            return error
    found = "; ".join(f"{backend}: {error.message}" for backend, error in refusals)
    return InterlockError(
        Reason.SANDBOX_UNAVAILABLE,
        f"No sandbox of level {choice.minimum.name.lower()} or better works here. {found}",
        field="INTERLOCK_SANDBOX",
        fix=refusals[0][1].fix or _FIX,
    )
