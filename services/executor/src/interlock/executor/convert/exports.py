"""Exports from the wire and to it."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.executor.convert.text import wire
from interlock.executor.exports.git import Omission, Omissions
from interlock.executor.files.names import to_text
from interlock.executor.queries.export import Item
from interlock.v1 import export_pb2 as pb

_KINDS = {
    "empty_directory": pb.OMISSION_KIND_EMPTY_DIRECTORY,
    "mode": pb.OMISSION_KIND_MODE,
    "name": pb.OMISSION_KIND_NAME,
}


def items(messages: Iterable[pb.ExportItem]) -> list[Item]:
    """The trees that are asked for."""
    return [Item(each.workspace_id, each.tree, each.message, each.at.seconds) for each in messages]


def last(omissions: Omissions) -> pb.ExportTreeResponse:
    """The message that ends an export."""
    return pb.ExportTreeResponse(
        omissions=map(_omission, omissions.kept), omissions_total=omissions.total, complete=True
    )


def _omission(one: Omission) -> pb.ExportOmission:
    return pb.ExportOmission(
        item=one.commit, path=wire(to_text(one.path)), kind=_KINDS[one.kind], mode=one.mode
    )
