"""What every test gets: a hypothesis profile, and an environment that is nobody's in particular.

Tests run in parallel processes: nothing here has a fixed port or path. Databases, services and workspaces come from
the conftest of the directory that needs them.
"""

from __future__ import annotations

import gc
import os
import pathlib
import shutil
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# `ci` finds the same examples every time; a new seed is tried on purpose: HYPOTHESIS_PROFILE=explore make test
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
# Taken by the long tests themselves: settings.get_profile.
settings.register_profile(
    "torture", deadline=None, print_blob=True, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)

# Before anything imports grpc: see interlock.executor.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_XDG = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
_SCRATCH = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
    _forget_the_developer()
    _hear_ctrl_c()
    scratch = tempfile.mkdtemp(prefix="interlock-tests-")
    config.stash[_SCRATCH] = scratch
    for name in _XDG:
        os.environ[name] = os.path.join(scratch, name.lower())


def pytest_collection(session: pytest.Session) -> None:
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of collected tests stay to the end: no collection of garbage goes over them again."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash.get(_SCRATCH, ""), ignore_errors=True)


def _hear_ctrl_c() -> None:
    """A shell starts background jobs with SIGINT ignored, and what is ignored stays so in every child."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _find_runsc() -> None:
    """The one that scripts/runtimes has fetched is tested rather than an older one of this machine."""
    fetched = pathlib.Path(__file__).parent.parent / ".cache/runtimes/runsc"
    if fetched.exists():
        os.environ["INTERLOCK_RUNSC"] = str(fetched)


def _forget_the_developer() -> None:
    """No test talks to the services, database, model or collector that this shell happens to be set up for."""
    kept = {"INTERLOCK_TEST_DATABASE_URL"}
    for name in list(os.environ):
        if name.startswith(("INTERLOCK_", "OTEL_")) and name not in kept:
            del os.environ[name]
    os.environ["NO_COLOR"] = "1"
    _find_runsc()
    os.environ.pop("FORCE_COLOR", None)
