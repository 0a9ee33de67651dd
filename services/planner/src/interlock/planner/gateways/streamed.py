"""A chat completion that comes in pieces, put together to what the server would have sent whole.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), each a ``chat.completion.chunk``
of https://platform.openai.com/docs/api-reference/chat-streaming, the last one ``[DONE]``. What is kept as the reply is
one ``chat.completion`` object: the frames around each word would be a hundred times the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from interlock.common.errors import Reason
from interlock.planner.gateways.base import Listener, ModelError
from interlock.planner.gateways.planted import Keys
from interlock.planner.gateways.replies import NotJson, read_object
from interlock.planner.gateways.status import error_says

_OF_ALL = ("id", "created", "model", "system_fingerprint")


class Joiner:
    """Takes a body's bytes as they come, tells the text to ``listener``, and has the whole reply in the end."""

    def __init__(self, listener: Listener, keys: Keys | None = None) -> None:
        self._listener = listener
        self._keys = keys or Keys(())
        self._rest = bytearray()
        self._whole: dict[str, Any] = {"object": "chat.completion"}
        self._text: list[str] = []
        self._refused: list[str] = []
        self._called = False
        self._finish: str | None = None
        self._done = False
        self._error: object = None
        self.heard = False

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises MODEL_REPLY_INVALID for an event that is no JSON object."""
        self.heard = True
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(bytes(self._rest) + line)
            self._rest.clear()
        self._rest += rest

    def whole(self) -> bytes:
        """The reply as one JSON object. Raises MODEL_REPLY_INVALID when it has not come to its end, MODEL_UNAVAILABLE
        when the server says so in it."""
        self._line(bytes(self._rest))
        self._rest.clear()
        if self._error is not None:
            said = error_says(json.loads(self._keys.out_of(json.dumps(self._error, default=str).encode())))
            text = f"The model's server ended its reply with an error: {said}"
            raise ModelError(Reason.MODEL_UNAVAILABLE, text)
        if not self._done and self._finish is None:
            text = "The model's server broke off in the middle of its reply."
            raise ModelError(Reason.MODEL_REPLY_INVALID, text)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._text)}
        if self._refused:
            message["refusal"] = "".join(self._refused)
        if self._called:
            message["tool_calls"] = [{}]
        choice = {"index": 0, "finish_reason": self._finish, "message": message}
        return self._keys.out_of(json.dumps({**self._whole, "choices": [choice]}, default=float).encode())

    def _line(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.strip()
        if field != b"data" or not value or self._done:
            return
        if value == b"[DONE]":
            self._done = True
            return
        try:
            self._event(read_object(value))
        except NotJson as error:
            message = f"The model's server sent a piece that is not JSON: {error}."
            raise ModelError(Reason.MODEL_REPLY_INVALID, message) from None

    def _event(self, event: Mapping[str, Any]) -> None:
        self._error = event.get("error") or self._error
        for name in _OF_ALL:
            if event.get(name) is not None:
                self._whole.setdefault(name, event[name])
        if isinstance(event.get("usage"), dict):
            self._whole["usage"] = event["usage"]
        for choice in _choices(event):
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._piece(delta)

    def _piece(self, delta: Mapping[str, Any]) -> None:
        text, refused = delta.get("content"), delta.get("refusal")
        if isinstance(text, str) and text:
            self._text.append(text)
            self._listener.add(text)
        if isinstance(refused, str):
            self._refused.append(refused)
        self._called = self._called or bool(delta.get("tool_calls") or delta.get("function_call"))


def _choices(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The first of the alternatives, which is the only one that is asked for."""
    listed = event.get("choices")
    for choice in listed if isinstance(listed, list) else []:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            yield choice
