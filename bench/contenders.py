"""The engines, and how a driver of one is run: a process in the engine's own environment, bounded in time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import environments
from bench.cluster import Cluster, libpq

DRIVERS = Path(__file__).resolve().parent / "drivers"
ALL = ("throughput", "idle", "growth", "approval", "recovery")


@dataclass(frozen=True)
class Contender:
    """An engine: its name in tables, its environment's name (empty: this one), its driver, what can be measured."""

    name: str
    environment: str
    driver: str
    measures: tuple[str, ...] = ALL


CONTENDERS = (
    Contender("Interlock", "", "interlock_steps.py"),
    Contender("Absurd", "absurd", "absurd.py"),
    Contender("Restate", "restate", "restate_steps.py"),
    Contender("LangGraph", "langgraph", "langgraph_steps.py"),
    Contender("DBOS", "dbos", "dbos_steps.py"),
    Contender("Procrastinate", "procrastinate", "procrastinate_steps.py", ("throughput", "idle")),
)
FLOOR = Contender("one-statement commits", "", "floor.py", ("throughput",))
"""What this PostgreSQL can commit, measured beside the engines: the limit of whoever commits once a step."""


class FailedError(Exception):
    """Why a measure gave no figure, in a line."""


def installed(contender: Contender) -> dict[str, str]:
    """The environment of the contender's processes. Raises NotInstalledError."""
    found = dict(os.environ)
    # What this process imports is not for the peers.
    inherited = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    found.pop("PYTHONPATH", None)
    found["BENCH_PYTHON"] = sys.executable
    if contender.environment:
        found["BENCH_PYTHON"] = environments.python(contender.environment)
    else:
        found["PYTHONPATH"] = os.pathsep.join(inherited)
    if contender.environment == "restate":
        found["BENCH_RESTATE"] = environments.restate_server()
    return found


def measure(
    cluster: Cluster, contender: Contender, name: str, given: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """One measure of one contender on a database of its own. Raises FailedError, NotInstalledError."""
    environment = installed(contender)
    url = cluster.fresh(Path(contender.driver).stem)
    scratch = Path(tempfile.mkdtemp(prefix="interlock-bench-run-"))
    environment |= {
        "BENCH_DSN": libpq(url),
        "BENCH_URL": url,
        "BENCH_POSTGRES_PID": str(cluster.pid),
        "BENCH_SCRATCH": str(scratch),
    }
    command = [environment["BENCH_PYTHON"], str(DRIVERS / contender.driver), name, json.dumps(given)]
    try:
        return _run(command, environment, seconds, scratch / "output")
    finally:
        cluster.drop(url)
        shutil.rmtree(scratch, ignore_errors=True)


def _run(command: list[str], environment: dict[str, str], seconds: float, output: Path) -> dict[str, Any]:
    with open(output, "wb") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FailedError(f"no result within {seconds:.0f} s") from None
        finally:
            _end_group(process)
    lines = output.read_text(errors="replace").splitlines()
    results = [line.removeprefix("RESULT ") for line in lines if line.startswith("RESULT ")]
    if results:
        return dict(json.loads(results[-1]))
    said = [line.strip() for line in lines if line.strip()]
    if os.environ.get("BENCH_VERBOSE"):
        print("\n".join(lines[-60:]), file=sys.stderr)
    raise FailedError(
        f"its driver ended with {process.returncode}: {said[-1][:200] if said else 'no message'}"
    )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the driver and whatever it started: they have a session, and so a process group, of their own."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
