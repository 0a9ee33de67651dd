"""What goes wrong on the wire ends as a typed error, within its time, and never shows the key."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.support.models import (
    HANG,
    HTML,
    KEY,
    Answer,
    ScriptedServer,
    Waits,
    chat,
    completed,
    of,
    structured,
)

from interlock.common.errors import Reason
from interlock.planner.domain.schemas import router_schema
from interlock.planner.gateways.base import CompletionRequest, Gateway, ModelError

ASK = CompletionRequest("hello", timeout_s=20)
KINDS = ["openai", "router"]
GOOD = {"openai": chat("fine"), "router": completed("fine")}

Make = Callable[..., Gateway]


async def failure(gateway: Gateway, request: CompletionRequest = ASK) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await gateway.complete(request)
    shown = f"{caught.value} {caught.value.fix} {caught.value.metadata!r} {caught.value!r}"
    assert KEY not in shown
    assert "sk-" not in shown
    return caught.value


def error_body(message: str, code: str = "") -> dict[str, object]:
    return {"error": {"message": message, "code": code}}


FAULTS: list[tuple[str, Answer, Reason]] = [
    ("401", of(error_body(f"Incorrect API key provided: {KEY}"), 401), Reason.MODEL_UNAUTHENTICATED),
    ("403", of({"detail": "forbidden"}, 403), Reason.MODEL_UNAUTHENTICATED),
    ("400 echoing a key", of(error_body(f"bad header Bearer {KEY}"), 400), Reason.MODEL_UNAVAILABLE),
    ("404", of(error_body("model not found"), 404), Reason.MODEL_UNAVAILABLE),
    ("301", Answer(301, b"", {"location": "http://127.0.0.1:9/"}), Reason.MODEL_UNAVAILABLE),
    ("413", Answer(413, b"too big"), Reason.MODEL_PROMPT_TOO_LARGE),
    (
        "context length",
        of(error_body("too long", "context_length_exceeded"), 400),
        Reason.MODEL_PROMPT_TOO_LARGE,
    ),
    ("422 of the router", of({"detail": "at most 100000 characters"}, 422), Reason.MODEL_PROMPT_TOO_LARGE),
    ("content filter", of(error_body("no", "content_filter"), 400), Reason.MODEL_REFUSED),
    ("quota", of(error_body("pay", "insufficient_quota"), 429), Reason.MODEL_RATE_LIMITED),
    ("429", of({}, 429, retry_after="0"), Reason.MODEL_RATE_LIMITED),
    ("500", Answer(500, b"Traceback (most recent call last)"), Reason.MODEL_UNAVAILABLE),
    ("503", of({"detail": "all models failed"}, 503), Reason.MODEL_UNAVAILABLE),
    ("504", Answer(504, b""), Reason.MODEL_TIMEOUT),
    ("html", HTML, Reason.MODEL_REPLY_INVALID),
    ("empty body", Answer(200, b""), Reason.MODEL_REPLY_INVALID),
    ("truncated JSON", Answer(200, b'{"choices": [{"mess'), Reason.MODEL_REPLY_INVALID),
    ("not an object", of([1, 2]), Reason.MODEL_REPLY_INVALID),
    ("wrong fields", of({"hello": "world"}), Reason.MODEL_REPLY_INVALID),
    ("not UTF-8", Answer(200, b"\xff\xfe\xfd"), Reason.MODEL_REPLY_INVALID),
    ("too deep", Answer(200, b"[" * 100_000), Reason.MODEL_REPLY_INVALID),
    ("10 MB", Answer(200, b" " * (10 * 1024 * 1024)), Reason.MODEL_REPLY_INVALID),
    ("broken off", Answer(200, b'{"a": "' + b"x" * 1000, fault="cut"), Reason.MODEL_REPLY_INVALID),
    ("closed", Answer(fault="close"), Reason.MODEL_UNAVAILABLE),
    ("bad gzip", Answer(200, b"not gzip", {"content-encoding": "gzip"}), Reason.MODEL_REPLY_INVALID),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("answer", "reason"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
async def test_each_fault_is_typed(
    make: Make, server: ScriptedServer, kind: str, answer: Answer, reason: Reason
) -> None:
    server.script(answer)
    error = await failure(make(kind))
    assert error.reason is reason
    assert len(str(error)) < 500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", [HANG, Answer(200, b"x" * 1000, fault="stall")], ids=["hang", "stall"])
async def test_a_server_that_never_ends_its_answer_is_given_up(
    make: Make, server: ScriptedServer, kind: str, answer: Answer
) -> None:
    server.script(answer)
    error = await failure(make(kind), CompletionRequest("hello", timeout_s=0.3))
    assert error.reason is Reason.MODEL_TIMEOUT
    assert "0.3 s" in str(error)


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listens(make: Make, server: ScriptedServer, kind: str, unused_tcp_port: int) -> None:
    server.url = f"http://127.0.0.1:{unused_tcp_port}"
    gateway = make(kind)
    assert (await failure(gateway)).reason is Reason.MODEL_UNAVAILABLE
    assert not await gateway.available()
    assert await gateway.models() == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_passing_fault_is_tried_again(
    make: Make, server: ScriptedServer, kind: str, status: int
) -> None:
    server.script(of({}, status), of({}, status), GOOD[kind])
    assert (await make(kind).complete(ASK)).text == "fine"
    assert len(server.asked) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_retries_are_bounded_and_spread(
    make: Make, server: ScriptedServer, waits: Waits, kind: str
) -> None:
    server.script(of({}, 500))
    assert (await failure(make(kind, attempts=4))).reason is Reason.MODEL_UNAVAILABLE
    assert len(server.asked) == 4
    assert waits.seconds == [0.25, 0.5, 1.0]  # half of the ceiling, by the test's jitter


@pytest.mark.parametrize("kind", KINDS)
async def test_retry_after_is_honoured(make: Make, server: ScriptedServer, waits: Waits, kind: str) -> None:
    server.script(of({}, 429, retry_after="7"), GOOD[kind])
    await make(kind).complete(ASK)
    assert waits.seconds == [pytest.approx(7.05)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_retry_after_beyond_the_time_out_fails_at_once(
    make: Make, server: ScriptedServer, waits: Waits, kind: str
) -> None:
    server.script(of({}, 429, retry_after="3600"))
    error = await failure(make(kind))
    assert (error.reason, error.retry_after) == (Reason.MODEL_RATE_LIMITED, 3600.0)
    assert waits.seconds == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer", [of({}, 401), of({}, 404), of(error_body("", "insufficient_quota"), 429), HTML]
)
async def test_what_cannot_get_better_is_not_tried_again(
    make: Make, server: ScriptedServer, kind: str, answer: Answer
) -> None:
    server.script(answer)
    await failure(make(kind))
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_may_have_been_billed_is_not_repeated(
    make: Make, server: ScriptedServer, kind: str
) -> None:
    server.script(Answer(fault="close"), GOOD[kind])
    await failure(make(kind))
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_the_key_goes_into_its_header_only(make: Make, server: ScriptedServer, kind: str) -> None:
    server.script(GOOD[kind])
    reply = await make(kind).complete(ASK)
    header = "authorization" if kind == "openai" else "x-api-key"
    assert KEY in server.asked[0].headers[header]
    assert KEY.encode() not in reply.sent + reply.raw + server.asked[0].body
    assert reply.sent == server.asked[0].body


@pytest.mark.parametrize("kind", KINDS)
async def test_the_reply_that_could_not_be_used_is_kept(
    make: Make, server: ScriptedServer, kind: str
) -> None:
    server.script(HTML)
    error = await failure(make(kind))
    assert [reply.raw for reply in error.completions] == [HTML.body]
    assert json.loads(error.completions[0].sent)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["no JSON here", '{"steps": [', "```json\n[1,\n```", "NaN", '"text"'])
async def test_structure_without_json_is_an_invalid_reply(
    make: Make, server: ScriptedServer, kind: str, text: str
) -> None:
    server.script(chat(text) if kind == "openai" else structured(text))
    with pytest.raises(ModelError) as caught:
        await make(kind).structure(ASK, router_schema())
    assert caught.value.reason is Reason.MODEL_REPLY_INVALID
    assert caught.value.completions
