from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format
from tests.support.store import append, approval

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store import batch
from interlock.orchestrator.store.arrays import Array, Bigints, Bools, Byteas, Ints, Texts, Times
from interlock.orchestrator.store.engine import database_url, is_outage, unavailable
from interlock.orchestrator.store.records import NewWorkspace, Payload, RequestRecord, WorkspaceChange

_TIMES = st.datetimes(timezones=st.just(UTC)).filter(lambda t: 1 < t.year < 9999)
_KINDS: list[tuple[type[Array], st.SearchStrategy[Any]]] = [
    (Ints, st.integers(-(2**31), 2**31 - 1)),
    (Bigints, st.integers(-(2**63), 2**63 - 1)),
    (Bools, st.booleans()),
    (Texts, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    (Byteas, st.binary()),
    (Times, _TIMES),
]


@given(st.data())
@pytest.mark.parametrize(("kind", "values"), _KINDS, ids=[kind.__name__ for kind, _ in _KINDS])
def test_arrays_are_what_psycopg_reads_back(
    kind: type[Array], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    from interlock.orchestrator.store.arrays import _ArrayDumper

    given_values = data.draw(st.lists(st.none() | values, max_size=20))
    sent = _ArrayDumper(kind).dump(kind(given_values))
    transformer = Transformer()
    loaded = transformer.get_loader(kind.oid, Format.BINARY).load(sent)
    assert loaded == given_values


def test_ranks_keep_order_only_where_it_matters() -> None:
    one = WorkspaceChange("ws-1", "take", create=NewWorkspace("ex", "/"))
    request = RequestRecord("M", "r", b"", b"")
    appends = [
        append("run-a", 0),
        append("run-b", 0, workspace=one),
        append("run-a", 1),
        append("run-c", 0, workspace=one, request=request),
        append("run-d", 0, request=request),
        append("run-e", 0),
        append("run-a", 2, approvals=(approval(1),)),
        append("run-f", 0, approvals=(approval(1),)),
    ]
    assert batch.ranks(appends) == [1, 1, 2, 2, 3, 1, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40))
def test_appends_of_one_rank_share_nothing(pairs: list[tuple[int, int]]) -> None:
    appends = [
        append(f"run-{run}", 1, request=RequestRecord("M", str(name), b"", b"") if name else None)
        for run, name in pairs
    ]
    found = batch.ranks(appends)
    for rank in set(found):
        members = [pair for pair, r in zip(pairs, found, strict=True) if r == rank]
        assert len({run for run, _ in members}) == len(members)
        names = [name for _, name in members if name]
        assert len(set(names)) == len(names)
    for run in range(6):
        of_run = [r for (name, _), r in zip(pairs, found, strict=True) if name == run]
        assert of_run == sorted(set(of_run))


def test_parameters_are_parallel_and_complete() -> None:
    appends = [
        append("run-a", 0, 2, payloads=(Payload(b"d", "a/b", b"x"),)),
        append("run-b", 3, 1, epoch=7, request=RequestRecord("M", "r", b"f", b"x"), approvals=(approval(1),)),
    ]
    found = batch.parameters(appends)
    assert len(found) == batch.PARAMETERS
    assert {len(column) for column in found[:14]} == {2}
    assert {len(column) for column in found[14:22]} == {3}
    assert {len(column) for column in found[22:26]} == {1}
    assert {len(column) for column in found[26:31]} == {1}
    assert [found[3], found[4], found[5]] == [[0, 3], [None, 7], [2, 4]]
    assert [(e["append"]) for e in json.loads(found[31])["approvals"]] == [2]
    assert batch.parameters([append("run-b", 3)])[-1] is None


def test_size_counts_what_can_be_large() -> None:
    big = append("run-a", 0, 2, size=1000, payloads=(Payload(b"", "", b"x" * 500),))
    assert batch.check(big) == 2500
    with pytest.raises(InterlockError) as caught:
        batch.check(append("run-a", 0, payloads=(Payload(b"", "", bytes(batch.MAX_BYTES)),)))
    assert caught.value.reason is Reason.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(
    "given_url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"]
)
def test_urls_get_the_driver(given_url: str) -> None:
    url = database_url(given_url)
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize("bad", ["", "geheim", "mysql://u:geheim@h/d", "postgresql://u:geheim@h:port/d"])
def test_bad_urls_are_refused_without_repeating_them(bad: str) -> None:
    with pytest.raises(InterlockError) as caught:
        database_url(bad)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "INTERLOCK_DATABASE_URL"
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (psycopg.errors.AdminShutdown("x"), True),
        (psycopg.errors.ConnectionFailure("x"), True),
        (psycopg.errors.DiskFull("x"), True),
        (psycopg.errors.ReadOnlySqlTransaction("x"), True),
        (psycopg.OperationalError("no code"), True),
        (OSError("x"), True),
        (psycopg.errors.UniqueViolation("x"), False),
        (psycopg.errors.QueryCanceled("x"), False),
        (psycopg.DataError("x"), False),
    ],
)
def test_outages_are_told_from_mistakes(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage
    assert "x" not in str(unavailable(error)).split()
