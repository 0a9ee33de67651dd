"""Installations that the tests of a worker share: each is `interlock up` as real processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.background import Background, in_background
from tests.support.installation import Installation, running
from tests.support.models import MODEL, ScriptedServer, scripted
from tests.support.otlp import ReceivedSpan, Receiver, receiving


@pytest.fixture(scope="session")
def up() -> Iterator[Installation]:
    """Everything on embedded defaults, with the real local model; webhooks may go to this machine."""
    webhooks = {"ALLOW": "127.0.0.1", "ATTEMPTS": "2", "FIRST_DELAY_SECONDS": "0.05"}
    with running(**{f"INTERLOCK_WEBHOOK_{name}": value for name, value in webhooks.items()}) as installation:
        yield installation


@pytest.fixture(scope="module")
def crashing() -> Iterator[Installation]:
    """One whose services are killed: the supervisor waits longer from death to death, so it serves few tests."""
    with running() as installation:
        yield installation


@dataclass
class Observed:
    """An installation whose model is scripted and whose telemetry is received."""

    up: Installation
    model: ScriptedServer
    receiver: Receiver
    loop: Background
    model_loop: Background

    def spans(self, trace_id: str, *names: str, seconds: float = 60) -> list[ReceivedSpan]:
        """The spans of a trace, once one of each name is among them, and all of their parents."""

        def complete(spans: list[ReceivedSpan]) -> bool:
            mine = [span for span in spans if span.trace_id == trace_id]
            missing = {span.parent_id for span in mine} - {span.span_id for span in mine} - {""}
            return set(names) <= {span.name for span in mine} and not missing

        try:
            found = self.loop.call(self.receiver.wait_for(complete, seconds), seconds + 5)
        except TimeoutError:
            found = list(self.receiver.spans)
        return [span for span in found if span.trace_id == trace_id]


@pytest.fixture(scope="session")
def observed() -> Iterator[Observed]:
    """Everything, asking a scripted OpenAI-compatible server and exporting to a real OTLP receiver."""
    with in_background(scripted) as (model, model_loop), in_background(receiving) as (receiver, loop):
        environment = {
            "INTERLOCK_MODEL_GATEWAY": "openai",
            "INTERLOCK_MODEL_BASE_URL": f"{model.url}/v1",
            "INTERLOCK_MODEL_NAME": MODEL,
            "INTERLOCK_MODEL_TIMEOUT": "2",
            "INTERLOCK_MODEL_ATTEMPTS": "2",
            "INTERLOCK_PLAN_ATTEMPTS": "2",
            **receiver.environment(),
        }
        with running(**environment) as installation:
            yield Observed(installation, model, receiver, loop, model_loop)
