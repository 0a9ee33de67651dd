"""Every rpc there is, called with any bytes, and what may come back.

The rpcs come from the descriptors: one that is added to a proto is fuzzed from that moment on.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

import interlock.v1
from interlock.common.errors import DOMAIN, Reason
from interlock.v1 import executor_pb2

DEADLINE = 40.0
"""Seconds after which a call with one answer hangs."""

LISTEN = 0.2
"""Seconds for which a stream of answers is listened to."""

DETAILS = "grpc-status-details-bin"
TRACEBACK = "Traceback (most recent call last)"
FORBIDDEN = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}
_SERVED_BY = {"access": "orchestrator", "webhooks": "orchestrator"}
_REASONS = {reason.value for reason in Reason}


@dataclass(frozen=True)
class Method:
    """One rpc. `path` is `/interlock.v1.Service/Method`."""

    path: str
    request: Any
    response: Any
    takes_stream: bool
    gives_stream: bool

    @property
    def service_name(self) -> str:
        """Its service in the protos."""
        return self.path.split("/")[1].rpartition(".")[2]

    @property
    def service(self) -> str:
        """The process that serves it."""
        name = self.service_name.lower()
        return _SERVED_BY.get(name, name)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def every_method() -> list[Method]:
    """The rpcs of every service of `interlock.v1`, by path."""
    for module in pkgutil.iter_modules(interlock.v1.__path__):
        importlib.import_module(f"interlock.v1.{module.name}")
    pool = descriptor_pool.Default()
    found = {}
    for module in pkgutil.iter_modules(interlock.v1.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file = pool.FindFileByName(f"interlock/v1/{module.name.removesuffix('_pb2')}.proto")
        for service in file.services_by_name.values():
            if service.name == "AgentRuns":
                continue  # the gateway serves it, by HTTP only
            for rpc in service.methods:
                path = f"/{service.full_name}/{rpc.name}"
                found[path] = Method(
                    path,
                    message_factory.GetMessageClass(rpc.input_type),
                    message_factory.GetMessageClass(rpc.output_type),
                    rpc.client_streaming,
                    rpc.server_streaming,
                )
    return [found[path] for path in sorted(found)]


METHODS = every_method()
BY_NAME = {method.name: method for method in METHODS}


@dataclass(frozen=True)
class Outcome:
    """What a call came to. `reason` is the ErrorInfo's, empty for OK and where there is none."""

    code: grpc.StatusCode
    reason: str = ""
    answers: tuple[Any, ...] = ()
    details: str = ""
    ours: bool = True

    @property
    def ok(self) -> bool:
        return self.code is grpc.StatusCode.OK


@dataclass
class Tally:
    """How often each rpc was answered, and with what."""

    seen: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, method: Method, outcome: Outcome) -> None:
        counts = self.seen.setdefault(method.name, {})
        what = outcome.reason or outcome.code.name
        counts[what] = counts.get(what, 0) + 1

    def answered_ok(self, method: Method) -> int:
        return self.seen.get(method.name, {}).get("OK", 0)


class Caller:
    """Channels to the services of one installation."""

    def __init__(self, endpoints: dict[str, str], token: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 64 * 1024)]
        wanted = {method.service for method in METHODS}
        self._channels = {name: grpc.insecure_channel(endpoints[name], options) for name in sorted(wanted)}
        self._token = (("authorization", f"Bearer {token}"),)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def call(
        self,
        method: Method,
        requests: Iterable[bytes],
        *,
        metadata: Iterable[tuple[str, Any]] = (),
        token: bool = True,
        deadline: float = DEADLINE,
    ) -> Outcome:
        """Call with these bytes; a stream of answers is listened to for a moment, and left."""
        channel = self._channels[method.service]
        sent = [*(self._token if token else ()), *metadata]
        made = iter(requests) if method.takes_stream else next(iter(requests))
        try:
            if method.gives_stream:
                return self._listen(channel, method, made, sent)
            kind = channel.stream_unary if method.takes_stream else channel.unary_unary
            answer = kind(method.path)(made, timeout=deadline, metadata=sent)
            return Outcome(grpc.StatusCode.OK, answers=(method.response.FromString(answer),))
        except grpc.RpcError as error:
            return outcome_of(error)

    def _listen(self, channel: Any, method: Method, made: Any, sent: Any) -> Outcome:
        kind = channel.stream_stream if method.takes_stream else channel.unary_stream
        call = kind(method.path)(made, timeout=LISTEN, metadata=sent)
        answers = []
        try:
            for answer in call:
                answers.append(method.response.FromString(answer))
                if len(answers) == 200:
                    break
        except grpc.RpcError as error:
            found = outcome_of(error)
            # Nothing is wrong with a stream that has more to say: we stopped listening.
            if found.code is not grpc.StatusCode.DEADLINE_EXCEEDED or found.ours:
                return found
        finally:
            call.cancel()
        return Outcome(grpc.StatusCode.OK, answers=tuple(answers))

    def leave(self, method: Method, request: bytes, seconds: float) -> None:
        """Call, and go away after so long, whatever has come by then."""
        channel = self._channels[method.service]
        kind = "stream" if method.takes_stream else "unary"
        call = getattr(channel, f"{kind}_{'stream' if method.gives_stream else 'unary'}")(method.path)
        made = iter([request]) if method.takes_stream else request
        started = (
            call(made, metadata=self._token)
            if method.gives_stream
            else call.future(made, metadata=self._token)
        )
        threading.Event().wait(seconds)
        started.cancel()

    def serving(self) -> dict[str, bool]:
        """Which services say that they work."""
        found = {}
        for name, channel in self._channels.items():
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=DEADLINE
            )
            found[name] = answer.status == health_pb2.HealthCheckResponse.SERVING
        return found


def outcome_of(error: Any) -> Outcome:
    """The reason in a failed call's ErrorInfo, where it has one of ours."""
    reason = ""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS:
            reason = reason_in(status_pb2.Status.FromString(value))
    return Outcome(error.code(), reason, details=error.details() or "", ours=bool(reason))


def reason_in(status: Any) -> str:
    """The reason in a rich status; empty without an ErrorInfo of ours."""
    for packed in status.details:
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info) and info.domain == DOMAIN:
            return str(info.reason)
    return ""


def check(method: Method, outcome: Outcome) -> None:
    """Fails on an answer that is neither OK nor a typed error, or that is a defect of the service."""
    said = f"{method.path}: {outcome.code.name} {outcome.reason} {outcome.details!r}"
    if not outcome.ok:
        assert outcome.ours, f"no ErrorInfo: {said}"
        assert outcome.code not in FORBIDDEN, said
        assert outcome.reason in _REASONS, said
        assert outcome.reason != Reason.INTERNAL.value, said
    assert TRACEBACK not in outcome.details, said
    for answer in outcome.answers:
        _check_answer(said, answer)


def _check_answer(said: str, answer: Any) -> None:
    if isinstance(answer, executor_pb2.SessionResponse):
        for result in answer.results:
            if result.HasField("error"):
                assert reason_in(result.error) not in ("", Reason.INTERNAL.value), (said, result.error)
    failure = getattr(answer, "failure", None)
    if failure is not None:
        assert failure.reason != Reason.INTERNAL.value, (said, failure)
