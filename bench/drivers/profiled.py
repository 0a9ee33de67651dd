"""Runs a service with a profile that SIGUSR1 starts and SIGUSR2 ends: `profiled.py MODULE FILE`, FILE for pstats."""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys
import threading
import time


def main() -> None:
    module, output = sys.argv[1:3]
    profile = cProfile.Profile(time.thread_time)  # what others take of the machine is not in it

    def end(*_: object) -> None:
        profile.disable()
        threading.Thread(target=profile.dump_stats, args=[output]).start()

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, end)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()
