"""The executor, which is killed when it passes the point that TEST_FAILPOINT names (`name:n`)."""

from __future__ import annotations

import os
import runpy

from interlock.executor.files import failpoints

if __name__ == "__main__":
    failpoints.arm(os.environ["TEST_FAILPOINT"])
    runpy.run_module("interlock.executor", run_name="__main__")
