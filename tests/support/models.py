"""A scripted model server: it says so itself, speaks real HTTP on a real socket, and misbehaves on request.

    async with scripted() as server:
        server.script(chat("hello"), Answer(429, headers={"retry-after": "0"}), HANG)
        …point a gateway at server.url…
        assert server.requests[0].json["model"] == "m"

Answers are used in order; the last one is repeated. Nothing here judges a prompt: what a real model does with one is
shown by the tests that run the real local model.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

MODEL = "scripted-fake-model"
KEY = "sk-secret-key-0123456789"


class Waits:
    """Takes the place of sleeping between retries, and remembers how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@dataclass(frozen=True)
class Answer:
    """One answer. ``fault``: ``hang`` (never answers), ``stall`` (stops in the body), ``cut`` (breaks off in the body),
    ``close`` (closes without a byte), ``pause`` (waits in the middle of the body until it is released)."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Request], Answer | None]

HANG = Answer(fault="hang")
HTML = Answer(200, b"<!doctype html><html><body>Sign in</body></html>", {"content-type": "text/html"})


def of(data: object, status: int = 200, **headers: str) -> Answer:
    """An answer of JSON; underscores in header names become dashes."""
    return Answer(
        status, json.dumps(data).encode(), {name.replace("_", "-"): value for name, value in headers.items()}
    )


def chat(
    content: object, *, finish: str = "stop", usage: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An OpenAI-compatible completion; a dict or list becomes JSON text."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    data: dict[str, Any] = {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice]}
    if usage is not None:
        data["usage"] = usage
    return Answer(200, json.dumps(data).encode(), headers or {})


def streamed(
    *pieces: str, finish: str = "stop", usage: object = None, fault: str = "", **headers: str
) -> Answer:
    """The same in server-sent events, a piece each; the middle of the body lies between two of many pieces."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    choices = [{"index": 0, "delta": delta} for delta in [*deltas, *({"content": each} for each in pieces)]]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    chunks: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
    if usage is not None:
        chunks.append({"choices": [], "usage": usage})
    named = [{"id": "x", "object": "chat.completion.chunk", "model": MODEL, **chunk} for chunk in chunks]
    body = "".join(f"data: {json.dumps(each)}\n\n" for each in named) + "data: [DONE]\n\n"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(200, body.encode(), {"content-type": "text/event-stream", **given}, fault)


def refusing(param: str, message: str = "") -> Answer:
    """A 400 as OpenAI-compatible servers give it for a parameter they do not take."""
    said = message or f"Unsupported parameter: '{param}' is not supported with this model."
    return of({"error": {"message": said, "type": "invalid_request_error", "param": param}}, 400)


def completed(text: str, **fields: object) -> Answer:
    """The Smart Model Router's answer of /v1/complete."""
    data = {"response": text, "model_used": MODEL, "difficulty_tag": "easy", "estimated_cost": 0.00012,
            "estimated_savings": 0.001, "latency_ms": 7, "cache_hit": False, **fields}  # fmt: skip
    return of(data)


def structured(data: object, **fields: object) -> Answer:
    """The Smart Model Router's answer of /v1/structure."""
    return of({"data": data, "model_used": MODEL, "estimated_cost": 0.00034, "latency_ms": 9, **fields})


class ScriptedServer:
    """Listens on a free loopback port."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.connections = 0
        self._answers: list[Answer] = [Answer(500, b"nothing scripted")]
        self._rule: Script | None = None
        self._released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Accept connections: on a free port, later on the same one again."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self._server = await asyncio.start_server(self.handle, "127.0.0.1", port, limit=1024 * 1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def refuse(self) -> None:
        """Be gone: connections are refused, and those that are open end."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.close()
            await self._server.wait_closed()
            self._server = None

    def script(self, *answers: Answer) -> None:
        """What to answer, in order; the last is repeated."""
        self._answers = list(answers)

    def rule(self, rule: Script) -> None:
        """Answer by the request; ``None`` falls back to the script."""
        self._rule = rule

    @property
    def asked(self) -> list[Request]:
        """The requests that ask the model something."""
        return [request for request in self.requests if request.method == "POST"]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                if not await self._answer(self._choose(request), writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _choose(self, request: Request) -> Answer:
        ruled = self._rule(request) if self._rule else None
        if ruled is not None:
            return ruled
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def _answer(self, answer: Answer, writer: asyncio.StreamWriter) -> bool:
        if answer.fault == "close":
            return False
        if answer.fault == "hang":
            await self._released.wait()
            return False
        lines = [f"HTTP/1.1 {answer.status} Scripted", f"content-length: {len(answer.body)}"]
        lines += [
            f"{name}: {value}"
            for name, value in {"content-type": "application/json", **answer.headers}.items()
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        body = answer.body if not answer.fault else answer.body[: len(answer.body) // 2]
        writer.write(head + body)
        await writer.drain()
        if answer.fault == "pause":
            await self._released.wait()
            writer.write(answer.body[len(body) :])
            await writer.drain()
            return True
        if answer.fault == "stall":
            await self._released.wait()
        return not answer.fault

    def release(self) -> None:
        """Let hanging answers end."""
        self._released.set()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedServer]:
    """A scripted server for the time of the block."""
    scripted_server = ScriptedServer()
    await scripted_server.listen()
    try:
        yield scripted_server
    finally:
        scripted_server.release()
        await scripted_server.refuse()
