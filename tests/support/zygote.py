"""Starts services quickly: a process that has imported them all, and forks one for each that is wanted.

It imports, and starts neither a thread nor gRPC, so that a fork of it is as good as a fresh process. A line of JSON on
its standard input asks for one (`module`, `arguments`, `env`, `log`); it answers with the pid. What it has started ends
with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any

MODULES = (
    "interlock.orchestrator.server",
    "interlock.executor.server",
    "interlock.executor.config",
    "interlock.planner.server",
    "interlock.approval.server",
    "interlock.gateway.server",
)
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Until the end of standard input."""
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # a fork does not write to what it shares with the others
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever waits for a child looks at its pidfd
    print("ready", flush=True)
    for line in sys.stdin:
        print(_start(json.loads(line)), flush=True)


def _start(wanted: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _become(wanted)
    return pid


def _become(wanted: dict[str, Any]) -> None:
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(wanted["env"])
        sys.argv = [wanted["module"], *wanted["arguments"]]
        if os.environ.get("TEST_FAULT"):
            importlib.import_module("tests.support.faults").arm(os.environ["TEST_FAULT"])
        runpy.run_module(wanted["module"], run_name="__main__", alter_sys=False)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - the child of a fork never returns into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
