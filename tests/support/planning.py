"""What every gateway has to stand: the same questions and the same faults, through the whole planner service.

    for case in cases("openai"):
        server.script(*case.answers)
        await case.hold(stub)

Each ends in a valid plan or in a typed error, within its time, and every call that was made is on the record with its
cost, or as one whose cost is not known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.support.models import MODEL, Answer, chat, completed, of, structured

from interlock.common.digests import sha256_text
from interlock.v1 import planner_pb2 as pb
from interlock.v1.planner_pb2_grpc import PlannerStub

SECONDS = 60.0
_TYPED = "MODEL_"
_FILES = [pb.ContextFile(path="src/a.py", size=10, content="x = 1\n"), pb.ContextFile(path="README.md")]
_USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
_RICH = {
    "steps": [
        {"kind": "read_file", "name": "look", "path": "src/a.py"},
        {"kind": "summarize", "name": "sum up", "instruction": "Say it.", "context_keys": ["step-1"]},
    ]
}
_ROUTER = [
    {"step_type": "read_file", "input": "src/a.py", "description": "look"},
    {"step_type": "summarize", "input": "Say it.", "description": "sum up"},
]


@dataclass(frozen=True)
class Case:
    """Answers of a server, and what has to come of them: a plan, or one of the reasons. ``calls`` are on record."""

    name: str
    answers: tuple[Answer, ...]
    reasons: frozenset[str] = frozenset()
    calls: int | None = None
    seconds: float = SECONDS

    def or_else(self, *reasons: str) -> Case:
        """The same where something between may turn a failure into another one, and keep replies to itself."""
        return replace(self, reasons=self.reasons | set(reasons), calls=None) if self.reasons else self

    async def hold(self, stub: PlannerStub) -> pb.PlanResponse:
        """Ask for a plan; the answer keeps to what is promised. A call that outlasts its deadline raises."""
        terms = pb.ModelTerms(failure_as_data=True)
        request = pb.PlanRequest(goal="Say what src/a.py does.", files=_FILES, max_steps=5, terms=terms)
        response = await stub.Plan(request, timeout=self.seconds)
        reason = response.failure.reason if response.HasField("failure") else ""
        assert reason in self.reasons if self.reasons else not reason, f"{self.name}: {response.failure}"
        assert self.calls is None or len(response.exchanges) == self.calls, self.name
        if reason:
            check_failure(response)
        else:
            check_plan(response)
        check_record(response)
        return response


def check_failure(response: pb.PlanResponse) -> None:
    """A typed error, with what was spent until then."""
    failure = response.failure
    assert failure.reason.startswith(_TYPED)
    assert failure.message
    assert failure.fix
    assert len(failure.message) < 1_000
    assert not response.steps
    assert failure.metadata["model_calls"] == str(len(response.exchanges))


def check_plan(response: pb.PlanResponse) -> None:
    """A plan that could be run: it has steps, and reads what is there."""
    assert response.steps
    paths = {file.path for file in _FILES}
    for step in response.steps:
        assert step.input.WhichOneof("kind")
        if step.input.HasField("read_file"):
            assert step.input.read_file.path in paths


def check_record(response: pb.PlanResponse) -> None:
    """Every call with its exact prompt and reply, and with what it cost or that nobody knows."""
    for exchange in response.exchanges:
        call = exchange.call
        assert (call.prompt_digest, call.reply_digest) == (
            sha256_text(exchange.prompt),
            sha256_text(exchange.reply),
        )
        assert call.cost.model_calls == 1
        assert call.cost.HasField("total") != bool(call.cost.unpriced_calls)
        assert call.gateway
        assert exchange.prompt


def cases(kind: str) -> Iterator[Case]:
    """Every case of a protocol, ``openai`` or ``router``."""
    good = chat(_RICH, usage=_USAGE) if kind == "openai" else structured(_ROUTER)
    wrong = _say(kind)({"steps": [{"kind": "dance", "name": "d"}]})
    cut = _say(kind)(json.dumps(_RICH)[:40])
    yield Case("plan", (good,), calls=1)
    yield Case("429, then a plan", (of({}, 429, retry_after="0"), good), calls=1)
    yield _fails("429 for an hour", "MODEL_RATE_LIMITED", of({}, 429, retry_after="3600"))
    if kind == "openai":  # the router's 500 means that structuring failed, and it is asked for text
        yield Case("500, then a plan", (of({}, 500), good), calls=1)
    else:
        text = completed(f"Here you are: {json.dumps(_ROUTER)}")
        yield Case("500, then JSON as text", (of({"detail": "structuring failed"}, 500), text), calls=1)
    yield _fails("500", "MODEL_UNAVAILABLE", of({"error": {"message": "boom"}}, 500))
    yield Case("stall in the middle", (replace(good, fault="stall"),), frozenset({"MODEL_TIMEOUT"}), 1, 2.0)
    yield _fails("broken off", "MODEL_REPLY_INVALID", replace(good, fault="cut"), calls=1)
    yield Case("cut JSON", (replace(good, body=good.body[:-30]),), frozenset({"MODEL_REPLY_INVALID"}), 3)
    yield Case("cut JSON in the answer, then a plan", (cut, good), calls=2)
    yield Case("wrong schema", (wrong,), frozenset({"MODEL_REPLY_INVALID"}), 3)
    yield Case("wrong schema, then a plan", (wrong, good), calls=2)
    yield _fails("10 MB", "MODEL_REPLY_INVALID", _say(kind)("x" * (10 * 1024 * 1024)), calls=1)
    if kind == "openai":
        refusal, tool = _message(refusal="I will not."), _message(tool_calls=[_TOOL_CALL])
        yield Case("refusal", (refusal,), frozenset({"MODEL_REFUSED"}), 1)
        yield Case("tool call", (tool,), frozenset({"MODEL_REPLY_INVALID"}), 3)
    else:
        yield Case("refusal", (structured("I will not."),), frozenset({"MODEL_REPLY_INVALID"}), 3)
        yield Case(
            "tool call", (structured({"tool_calls": [_TOOL_CALL]}),), frozenset({"MODEL_REPLY_INVALID"}), 3
        )


_TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "rm", "arguments": "{}"}}


def _fails(name: str, reason: str, answer: Answer, calls: int = 0) -> Case:
    """What a server refuses is no call; what was sent and got no whole reply is one, at a cost that nobody knows."""
    return Case(name, (answer,), frozenset({reason}), calls)


def _say(kind: str) -> Callable[[object], Answer]:
    """An answer whose content this is."""
    return (lambda content: chat(content, usage=_USAGE)) if kind == "openai" else structured


def _message(**fields: object) -> Answer:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": None, **fields},
    }
    return of({"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": _USAGE})
