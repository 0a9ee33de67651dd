"""The demo: a real plan on a real library, from fetching it to undoing the run: `demo.py [--goal TEXT]`.

Everything is done with the `interlock` command, which is printed as it is used, on a data directory and free ports of
the demo's own. On a terminal each gated step asks; without one, examples/demo/approver.py decides.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fetch_demo_library as library

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("DEMO_DIR") or ROOT / ".demo")
PLAN = ROOT / "examples/demo/plan.yaml"
APPROVER = ROOT / "examples/demo/approver.py"
INTERLOCK = Path(sys.executable).parent / "interlock"
START_SECONDS = 90
STOP_SECONDS = 40
RUN_SECONDS = 600


class DemoError(Exception):
    """Why the demo cannot go on, in words for the person watching."""


def main() -> int:
    """Exit code 0 when every claim the demo makes has been checked and holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--goal", default="", help="let the model plan this instead of using the written plan"
    )
    goal = parser.parse_args().goal
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the services as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    try:
        with alone():
            directory = prepare()
            with services():
                demonstrate(directory, goal)
            check_nothing_runs()
    except (DemoError, library.FetchError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything it started has been stopped", file=sys.stderr)
        return 130
    title(
        f"Done in {time.monotonic() - started:.0f} s. Nothing is left running; the files are in {shown(HOME)}."
    )
    return 0


def prepare() -> Path:
    """A fresh copy of the library, so that the demo can be run any number of times."""
    title(f"1. Fetch {library.NAME} {library.VERSION}, pinned by its hash")
    directory = HOME / "work" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f") / library.NAME
    library.unpack(library.fetch(library.default_cache()), directory)
    say(f"sha256:{library.SHA256}")
    say(f"{sum(1 for f in directory.rglob('*') if f.is_file())} files in {shown(directory)}")
    return directory


def demonstrate(directory: Path, goal: str) -> None:
    """The run, and the three things that must hold after it."""
    before = fingerprint(directory)
    title("3. Run the plan: every kind of step, live" if not goal else "3. Let the model plan, and run that")
    run = execute(directory, goal)
    report(run)
    changed = fingerprint(directory) != before
    if not goal:
        require(run["state"] == "RUN_STATE_COMPLETED", f"the run ended {run['state']}")
        require(changed, "the run completed but the directory did not change")

    title("4. Verify the journal: here, and offline from an exported bundle")
    bundle = directory.parent / "run.bundle"
    interlock("journal", "verify", run["runId"])
    interlock("journal", "export", run["runId"], "--file", str(bundle))
    command("python", "-m", "interlock.verify", str(bundle), program=sys.executable)
    # The library's tests say how long they took: replay finds that, and that nothing else differs.
    interlock("run", "replay", run["runId"], "--all", ok=(0, 1))

    title("5. Roll back: the directory is what it was")
    if run.get("headTree", "") not in ("", run["baseTree"]):
        interlock("run", "rollback", run["runId"])
    described = json.loads(interlock("workspace", "show", run["workspaceId"], "-o", "json", show=False))[
        "workspace"
    ]
    say(f"tree at the start  {run['baseTree']}")
    say(f"tree after the run {run.get('headTree', '')}")
    say(f"tree now           {described['headTree']}")
    require(described["headTree"] == run["baseTree"], "the workspace is not at the tree it started with")
    require(fingerprint(directory) == before, "the files are not what they were before the run")
    say(f"and every file, compared byte by byte without Interlock, is as it was in {shown(directory)}")


def execute(directory: Path, goal: str) -> dict[str, Any]:
    """Follows the run to its end; the final Run with its steps, in protobuf's JSON mapping."""
    what = ["--workspace", shown(directory), *(["--goal", goal] if goal else ["--plan", shown(PLAN)])]
    if sys.stdin.isatty() and sys.stderr.isatty():
        return as_run(interlock("run", "exec", *what, "-o", "json", ok=(0, 1, 4)))
    say("No terminal here: a subscriber written with the SDK approves what it sees.")
    with background([sys.executable, str(APPROVER)], "approver"):
        run = as_run(interlock("run", "start", *what, "-o", "json", ok=(0, 1)))
        interlock("run", "watch", run["runId"], ok=(0, 1))
    return as_run(interlock("run", "get", run["runId"], "-o", "json"))


def as_run(output: str) -> dict[str, Any]:
    """A Run as the command printed it."""
    if not output.strip():
        raise DemoError("no run was made; the reason is above")
    run: dict[str, Any] = json.loads(output)
    return run


def report(run: dict[str, Any]) -> None:
    """One line a step, and what it cost."""
    for step in run.get("steps", []):
        kind = step["kind"].removeprefix("STEP_KIND_").lower()
        state = step["state"].removeprefix("STEP_STATE_")
        print(
            f"  {step['number']:>2}  {kind:<12} {state:<10} {step.get('spec', {}).get('name', '')}".rstrip()
        )
    for step in run.get("steps", []):
        if step.get("reply"):
            first = " ".join(step["reply"].split())
            cut = first if len(first) <= 160 else first[:160] + "…"
            say(f"the model's answer to step {step['number']}: {cut[:160]!a}{cut[160:]}")
    if not os.environ.get("INTERLOCK_MODEL_BASE_URL"):
        say("(A model of 135 million parameters, here so that it runs without a key. It is often wrong.)")
    cost = run.get("cost", {})
    say(f"{run['runId']} is {run['state'].removeprefix('RUN_STATE_')}; cost as recorded: {json.dumps(cost)}")


@contextlib.contextmanager
def services() -> Iterator[None]:
    """Every service as a process of its own on free ports; all have ended when this ends."""
    title("2. Start the services: orchestrator, executor, planner, approval, and an embedded PostgreSQL")
    with background([str(INTERLOCK), "up", "--port-base", "0"], "up") as process:
        deadline = time.monotonic() + START_SECONDS
        while not (running := addresses(process.pid)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the services did not start:\n{tail(log_of('up'))}\ntry: interlock doctor")
            time.sleep(0.1)
        for name, address in running.items():
            say(f"{name:<13} {address}")
        yield


def addresses(pid: int) -> dict[str, str]:
    """Where the services listen, once that `interlock up` has written it; empty before."""
    with contextlib.suppress(FileNotFoundError):
        written = json.loads((HOME / "data/endpoints.json").read_text())
        if written["pid"] == pid:
            found: dict[str, str] = written["services"]
            return found
    return {}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One demo at a time in one directory; another one waits. The lock goes with its process."""
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another demo runs in {shown(HOME)}; waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def background(arguments: list[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own session: Ctrl-C on the terminal reaches only the demo, which then stops it."""
    say("$ " + shlex.join([Path(arguments[0]).name, *map(shown_if_ours, arguments[1:])]) + " &")
    log_of(name).parent.mkdir(parents=True, exist_ok=True)
    quiet = name != "approver"
    with open(log_of(name) if quiet else os.dup(sys.stderr.fileno()), "wb") as output:
        process = subprocess.Popen(
            arguments,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process, name)


def stop(process: subprocess.Popen[bytes], name: str) -> None:
    """Asks first; a process that does not end in time is killed and said."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoError(f"{name} did not stop within {STOP_SECONDS} s and was killed") from None


def interlock(*arguments: str, ok: tuple[int, ...] = (0,), show: bool = True) -> str:
    """Runs the command; its progress goes to this terminal, its data is returned and shown unless it is JSON."""
    return command("interlock", *arguments, ok=ok, show=show, program=str(INTERLOCK))


def command(name: str, *arguments: str, program: str, ok: tuple[int, ...] = (0,), show: bool = True) -> str:
    """Runs a program, printed as a person would type it."""
    say("$ " + shlex.join([name, *map(shown_if_ours, arguments)]))
    sys.stdout.flush()
    finished = subprocess.run(
        [program, *arguments],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=RUN_SECONDS,
    )
    if show and "json" not in arguments:
        print(finished.stdout, end="")
    if finished.returncode not in ok:
        raise DemoError(f"{name} {shlex.join(arguments[:2])} ended with exit code {finished.returncode}")
    return finished.stdout


def environment() -> dict[str, str]:
    """The caller's, but for what would lead to other services or another database than the demo's own."""
    keep = {"INTERLOCK_LOG_LEVEL", "INTERLOCK_BWRAP", "INTERLOCK_ROOTFS"}
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("INTERLOCK_") or name.startswith("INTERLOCK_MODEL_") or name in keep
    }
    return {**env, "INTERLOCK_DATA_DIR": str(HOME / "data"), "PYTHONUNBUFFERED": "1"}


def fingerprint(directory: Path) -> str:
    """A hash over every path, mode and content, made without any of Interlock's code."""
    whole = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        entry = f"{path.relative_to(directory)}\0{path.lstat().st_mode:o}\0{hashlib.sha256(content).hexdigest()}\n"
        whole.update(os.fsencode(entry))
    return whole.hexdigest()


def check_nothing_runs() -> None:
    """No process on this machine was started for the demo's data directory any more."""
    import psutil

    mark, mine, left = str(HOME / "data"), {os.getpid(), *(p.pid for p in psutil.Process().parents())}, []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            known = [*process.cmdline(), *process.environ().values()]
            if process.pid not in mine and any(mark in text for text in known):
                left.append(f"{process.pid} {shlex.join(process.cmdline())[:100]}")
    require(not left, "still running:\n" + "\n".join(left))


def require(holds: bool, otherwise: str) -> None:
    """One claim of the demo."""
    if not holds:
        raise DemoError(otherwise)


def log_of(name: str) -> Path:
    return HOME / "logs" / f"{name}.log"


def tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def shown(path: Path) -> str:
    """Relative to the repository where that is shorter."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def shown_if_ours(argument: str) -> str:
    return shown(Path(argument)) if argument.startswith(str(ROOT)) else argument


def title(text: str) -> None:
    bold, plain = (
        ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    )
    print(f"\n{bold}{text}{plain}", flush=True)


def say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
