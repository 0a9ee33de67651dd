"""One rpc, and the ways in which it is asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from interlock.gateway.domain.template import Template, parse


@dataclass(frozen=True, slots=True)
class Binding:
    """One `google.api.http` rule: `body` names the field that the body is, `*` all that the path does not bind."""

    verb: str
    template: Template
    body: str = ""
    response_body: str = ""


@dataclass(frozen=True)
class Method:
    """One rpc."""

    service: str
    name: str
    input: Descriptor
    output: Descriptor
    client_streaming: bool
    server_streaming: bool
    bindings: tuple[Binding, ...]
    options: Any = None

    @property
    def path(self) -> str:
        """`/interlock.v1.Orchestrator/GetRun`, as gRPC writes it."""
        return f"/{self.service}/{self.name}"

    @property
    def full_name(self) -> str:
        """`interlock.v1.Orchestrator.GetRun`, as protobuf writes it."""
        return f"{self.service}.{self.name}"

    def request(self) -> Message:
        """A new, empty request."""
        made: Message = message_factory.GetMessageClass(self.input)()
        return made

    def response(self, raw: bytes) -> Message:
        """A response from the wire."""
        made: Message = message_factory.GetMessageClass(self.output).FromString(raw)
        return made


def method_of(descriptor: MethodDescriptor) -> Method:
    """The rpc a descriptor stands for. Raises ValueError when one of its HTTP rules is not well-formed."""
    rule = descriptor.GetOptions().Extensions[annotations_pb2.http]
    return Method(
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        input=descriptor.input_type,
        output=descriptor.output_type,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        bindings=tuple(_bindings(descriptor, rule)),
        options=descriptor.GetOptions(),
    )


def _bindings(descriptor: MethodDescriptor, rule: Any) -> Iterator[Binding]:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        return
    if pattern == "custom":
        verb, text = rule.custom.kind, rule.custom.path
    else:
        verb, text = pattern.upper(), getattr(rule, pattern)
    template = parse(text)
    for variable in template.variables:
        field_at(descriptor.input_type, variable.field)
    if rule.body not in ("", "*"):
        field_at(descriptor.input_type, rule.body)
    if rule.response_body:
        field_at(descriptor.output_type, rule.response_body)
    yield Binding(verb, template, rule.body, rule.response_body)
    for more in rule.additional_bindings:
        yield from _bindings(descriptor, more)


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field at a dotted path, by its proto or JSON names. Raises ValueError when there is none."""
    *parents, last = path.split(".")
    for name in parents:
        field = field_named(message, name)
        if field is None or field.message_type is None or field.is_repeated:
            raise ValueError(f"{message.full_name} has no field {path!r}")
        message = field.message_type
    field = field_named(message, last)
    if field is None:
        raise ValueError(f"{message.full_name} has no field {path!r}")
    return field


def field_named(message: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by its proto name or its JSON name."""
    found = message.fields_by_name.get(name)
    if found is None:
        found = next((field for field in message.fields if field.json_name == name), None)
    return found
