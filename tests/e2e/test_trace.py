"""One trace per run, across all services, received by a real OTLP receiver; an approval that comes later is in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from tests.e2e.conftest import Observed
from tests.support.models import MODEL, chat
from tests.support.otlp import ReceivedSpan
from tests.support.working import ended, start, state

from interlock.v1.run_pb2 import Run

pytestmark = pytest.mark.slow

SERVICES = {f"interlock-{name}" for name in ("orchestrator", "executor", "planner", "approval")}
STEPS = (
    "read_file: {path: a.py}",
    "analyze: {instruction: Is it well?}",
    "{run_command: {command: 'echo out > b.txt'}, gate: effect}",
)
BEFORE = ("executor.prepare", f"chat {MODEL}", "approval.deliver")
AFTER = ("approval.decide", "interlock.v1.Orchestrator/RecordDecision", "executor.apply")


@dataclass
class Traced:
    """A run and the spans of its trace: those from before the decision, and all of them."""

    run: Run
    before: list[ReceivedSpan]
    spans: list[ReceivedSpan]
    elsewhere: list[ReceivedSpan]

    def only(self, name: str, **attributes: object) -> ReceivedSpan:
        wanted = {f"interlock.{key}": value for key, value in attributes.items()}.items()
        (found,) = (s for s in self.spans if s.name == name and wanted <= s.attributes.items())
        return found

    def ancestors(self, span: ReceivedSpan) -> list[str]:
        """Names from a span's parent up to the last one that was received."""
        by_id = {each.span_id: each for each in self.spans}
        names: list[str] = []
        while span.parent_id in by_id:
            span = by_id[span.parent_id]
            names.append(span.name)
        return names


@pytest.fixture(scope="module")
def traced(observed: Observed) -> Traced:
    """A run with a model call, a command, and an approval that comes after everything before it was exported."""
    observed.model.script(chat("All is well.", usage={"prompt_tokens": 11, "completion_tokens": 3}))
    return asyncio.run(_run(observed))


async def _run(observed: Observed) -> Traced:
    directory = observed.up.project(a__py="print('a')\n")
    async with observed.up.client() as client:
        run = await start(client, directory, *STEPS)
        shown = await anext(client.approvals(run_id=run.run_id))
        before = await asyncio.to_thread(observed.spans, run.trace_id, *BEFORE)
        await client.decide(shown, "approve")
        run = await ended(client, run)
        assert state(run) == "COMPLETED"
        spans = await asyncio.to_thread(observed.spans, run.trace_id, *BEFORE, *AFTER)
        mine = [s for s in observed.receiver.spans if s.attributes.get("interlock.run_id") == run.run_id]
        return Traced(run, before, spans, [span for span in mine if span.trace_id != run.trace_id])


def test_a_run_is_one_trace_with_spans_of_every_service(traced: Traced) -> None:
    assert {span.service for span in traced.spans} == SERVICES
    assert {span.trace_id for span in traced.spans} == {traced.run.trace_id}
    assert traced.elsewhere == []


def test_steps_of_the_executor_are_children_of_the_orchestrators_actions(traced: Traced) -> None:
    prepared = traced.only("executor.prepare", step=3)
    assert traced.ancestors(prepared)[:2] == ["executor.session", "action prepare"]
    assert prepared.attributes["interlock.run_id"] == traced.run.run_id
    assert traced.ancestors(traced.only("executor.apply", step=3))[:2] == ["executor.session", "action apply"]
    assert traced.only("action prepare", step=3).attributes["interlock.step.kind"] == "run_command"


def test_the_model_call_is_described_by_the_genai_conventions_and_without_its_texts(traced: Traced) -> None:
    span = traced.only(f"chat {MODEL}")
    assert traced.ancestors(span)[:2] == ["interlock.v1.Planner/Analyze", "action askmodel"]
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.response.model": MODEL,
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.output.type": "text",
    }
    assert wanted.items() <= span.attributes.items()
    for each in traced.spans:
        assert "well" not in str(each.attributes), each


def test_the_approval_continues_the_trace_when_it_comes(traced: Traced) -> None:
    delivered, decided = traced.only("approval.deliver"), traced.only("approval.decide")
    for span in (delivered, decided):
        assert span.service == "interlock-approval"
        assert span.attributes["interlock.run_id"] == traced.run.run_id
        assert span.attributes["interlock.step"] == 3
    recorded = traced.only("interlock.v1.Orchestrator/RecordDecision")
    assert traced.ancestors(recorded)[0] == "approval.decide"
    names = {span.name for span in traced.before}
    assert "approval.deliver" in names
    assert not names & set(AFTER)


def test_no_span_failed(traced: Traced) -> None:
    assert [span for span in traced.spans if span.status == 2] == []
