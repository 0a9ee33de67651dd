"""The process that runs the tiny local model: llama.cpp's server (package ``xllamacpp``) on a loopback port.

Started by ``local_process``. Reads one line of JSON settings on standard input (the key is not in argv or the
environment, which other users could read), answers one line ``{"url": …}`` or ``{"error": …}`` on standard output,
and ends when standard input closes, which also happens when its parent dies.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any


def main() -> None:
    """Serve until standard input ends."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the library prints must not be taken for the answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = json.loads(sys.stdin.readline())
    try:
        server = _serve(settings)
    except Exception as error:  # noqa: BLE001 - any failure of the library is reported to the parent, then it ends
        answer.write(json.dumps({"error": str(error)[:500] or type(error).__name__}) + "\n")
        answer.flush()
        os._exit(1)
    answer.write(json.dumps({"url": server.listening_address}) + "\n")
    answer.flush()
    sys.stdin.read()
    os._exit(0)  # the library's threads are not waited for: nothing here needs saving


def _serve(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.n_ctx = settings["context_tokens"]
    params.n_predict = settings["reply_tokens"]
    params.n_parallel = 1
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = settings["threads"]
        cpu.poll = (
            0  # sleep while waiting for each other: spinning starves a busy machine, this one's work included
        )
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.warmup = False
    params.offline = True
    params.verbosity = -1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
