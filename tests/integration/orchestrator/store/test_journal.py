from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest
from tests.support.store import IDLE, RUNNING, append, approval, event

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.errors import Conflict, LeaseLost
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.readers import approvals, events, others, runs
from interlock.orchestrator.store.records import (
    Append,
    AppendResult,
    Flushed,
    NewRun,
    NewWorkspace,
    Payload,
    RequestRecord,
    RunHead,
    WorkspaceChange,
)


async def outcomes(journal: Journal, *appends: Append) -> list[AppendResult | BaseException]:
    """All handed in at once, so that they share a batch."""
    return await asyncio.gather(*(journal.append(a) for a in appends), return_exceptions=True)


def reasons(found: list[AppendResult | BaseException]) -> list[str]:
    return [f.reason.value if isinstance(f, InterlockError) else "ok" for f in found]


async def test_what_was_appended_is_there(journal: Journal, database: Database) -> None:
    head = RunHead("RUNNING", 7, 2, 1234, needs_driver=True)
    new = NewRun("do it ☃", workspace_id="ws-1", labels={"team": "a"}, doc={"budget": {"micros": 5}})
    first = append("run-a", 0, 2, create=new, head=head)
    assert await journal.append(first) == AppendResult("run-a", 2, 2, 0)
    row = await runs.get(database, "run-a")
    assert (row.state, row.goal, row.workspace_id, row.labels, row.doc) == (
        *("RUNNING", "do it ☃", "ws-1"),
        *({"team": "a"}, {"budget": {"micros": 5}}),
    )
    assert (row.seq, row.position, row.epoch, row.lease_owner) == (2, 2, 0, None)
    assert (row.steps, row.steps_done, row.cost_micros, row.needs_driver) == (7, 2, 1234, True)
    assert bytes(row.head_hash) == first.events[-1].hash
    assert (row.created_at, row.updated_at) == (first.events[-1].at, first.events[-1].at)
    stored = await events.of_run(database, "run-a")
    assert [tuple(r)[2:] for r in stored] == [tuple(e) for e in first.events]
    assert [r.position for r in stored] == [1, 2]


async def test_the_head_follows_each_append(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0))
    result = await journal.append(append("run-a", 1, 3, head=IDLE))
    assert (result.seq, result.position) == (4, 4)
    row = await runs.get(database, "run-a")
    assert (row.seq, row.state, row.cost_micros, row.needs_driver) == (4, "AWAITING_APPROVAL", 42, False)


async def test_many_runs_share_few_commits(journal: Journal, database: Database) -> None:
    async def one(name: str) -> None:
        await journal.append(append(name, 0))
        for seq in range(1, 11):
            await journal.append(append(name, seq))

    await asyncio.gather(*(one(f"run-{n:03}") for n in range(60)))
    assert journal.events == 660
    assert journal.flushes <= 60
    positions = [row.position for row in await events.of_feed(database, 0)]
    assert positions == list(range(1, 661))


async def test_a_stale_seq_loses_alone(journal: Journal, database: Database) -> None:
    await outcomes(journal, append("run-a", 0, 3), append("run-b", 0), append("run-c", 0))
    found = await outcomes(journal, append("run-b", 1), append("run-a", 1), append("run-c", 1, 2))
    assert reasons(found) == ["ok", "RUN_CONFLICT", "ok"]
    assert isinstance(found[1], Conflict)
    assert found[1].current_seq == 3
    # The loser's positions are given back: no gap.
    assert [row.position for row in await events.of_feed(database)] == list(range(1, 9))
    assert await events.position(database) == 8


async def test_appends_to_one_run_in_one_batch_keep_their_order(journal: Journal, database: Database) -> None:
    found = await outcomes(journal, *(append("run-a", seq, 2) for seq in range(0, 10, 2)))
    assert reasons(found) == ["ok"] * 5
    assert journal.flushes == 1
    assert [row.seq for row in await events.of_feed(database)] == list(range(1, 11))


async def test_of_two_rivals_in_one_batch_one_wins(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0))
    rivals = [append("run-a", 1, salt=',"by":"x"'), append("run-a", 1, salt=',"by":"y"')]
    found = await outcomes(journal, *rivals)
    assert reasons(found) == ["ok", "RUN_CONFLICT"]
    assert [row.hash for row in await events.of_run(database, "run-a", 1)] == [rivals[0].events[0].hash]


async def test_a_chain_behind_a_loser_loses_too(journal: Journal) -> None:
    await journal.append(append("run-a", 0, 5))
    found = await outcomes(
        journal, append("run-a", 4), append("run-a", 5), append("run-a", 6), append("run-a", 8)
    )
    assert reasons(found) == ["RUN_CONFLICT", "ok", "ok", "RUN_CONFLICT"]


async def test_an_old_epoch_is_fenced_off(journal: Journal) -> None:
    created = await journal.append(append("run-a", 0, take="me"))
    assert created.epoch == 1
    assert (await journal.append(append("run-a", 1, epoch=1))).seq == 2
    with pytest.raises(LeaseLost) as caught:
        await journal.append(append("run-a", 2, epoch=0))
    assert caught.value.current_epoch == 1
    # A command has no epoch: its seq decides.
    assert (await journal.append(append("run-a", 2))).seq == 3


async def test_the_lease_is_taken_only_if_nobody_has_it(journal: Journal, database: Database) -> None:
    assert (await journal.append(append("run-a", 0, take="one"))).epoch == 1
    assert (await journal.append(append("run-a", 1, take="two"))).epoch == 0
    assert (await journal.append(append("run-a", 2, take="one"))).epoch == 1
    assert (await runs.get(database, "run-a")).lease_owner == "one"


async def test_a_run_that_needs_no_driver_drops_its_lease(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, take="one"))
    await journal.append(append("run-a", 1, epoch=1, head=IDLE))
    assert (await runs.get(database, "run-a")).lease_owner is None
    assert (await journal.append(append("run-a", 2, take="two"))).epoch == 2


async def test_unknown_and_existing_runs(journal: Journal) -> None:
    await journal.append(append("run-a", 0))
    found = await outcomes(journal, append("run-x", 4), append("run-a", 0), append("run-b", 0))
    assert reasons(found) == ["RUN_NOT_FOUND", "RUN_CONFLICT", "ok"]


def request(fingerprint: bytes = b"f", response: bytes = b"first", name: str = "req-1") -> RequestRecord:
    return RequestRecord("CreateRun", name, fingerprint, response)


async def test_a_repeated_request_gets_the_first_response(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, request=request()))
    again = await journal.append(append("run-b", 0, request=request(response=b"second")))
    assert again.replayed == b"first"
    assert await runs.find(database, "run-b") is None
    assert await others.recorded(database, "CreateRun", "req-1", b"f") == b"first"
    assert await events.position(database) == 1


async def test_a_replay_wins_over_a_moved_seq(journal: Journal) -> None:
    await journal.append(append("run-a", 0))
    await journal.append(append("run-a", 1, request=request()))
    again = await journal.append(append("run-a", 1, request=request()))
    assert again.replayed == b"first"


async def test_twins_in_one_batch_make_one_run(journal: Journal, database: Database) -> None:
    twins = [append(f"run-{n}", 0, request=request(response=b"%d" % n)) for n in range(4)]
    found = await outcomes(journal, *twins, append("run-z", 0))
    assert reasons(found) == ["ok"] * 5
    assert [f.replayed for f in found if isinstance(f, AppendResult)] == [None, b"0", b"0", b"0", None]
    assert [row.id for row in await runs.list_runs(database)] == ["run-z", "run-0"]


async def test_a_request_id_used_for_something_else_is_refused(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, request=request()))
    with pytest.raises(InterlockError) as caught:
        await journal.append(append("run-b", 0, request=request(fingerprint=b"other")))
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(InterlockError) as caught:
        await others.recorded(database, "CreateRun", "req-1", b"other")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert await others.recorded(database, "OtherMethod", "req-1", b"other") is None


async def test_a_losing_append_leaves_nothing(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, 2))
    body = b"a prompt"
    loser = append(
        *("run-a", 1),
        request=request(),
        approvals=(approval(1),),
        payloads=(Payload(hashlib.sha256(body).digest(), "text/plain", body),),
        workspace=WorkspaceChange("ws-1", "take", create=NewWorkspace("ex-1", "/src")),
    )
    assert reasons(await outcomes(journal, loser, append("run-b", 0))) == ["RUN_CONFLICT", "ok"]
    assert await others.recorded(database, "CreateRun", "req-1", b"f") is None
    assert await approvals.pending(database) == []
    assert await others.payload(database, hashlib.sha256(body).digest()) is None
    assert await others.list_workspaces(database) == []


async def test_approvals_open_and_close_with_their_events(journal: Journal, database: Database) -> None:
    await journal.append(append("run-a", 0, approvals=(approval(1, doc={"why": "rm"}), approval(2, step=2))))
    assert [a.id for a in await approvals.pending(database)] == ["apr-001", "apr-002"]
    closed = approval(1, "approved", subject="ann", resolved_at=event("run-a", 9).at, digest="sha256:other")
    await journal.append(append("run-a", 1, approvals=(closed,)))
    row = await approvals.get(database, "apr-001")
    assert (row.state, row.subject, row.resolved_at, row.doc) == ("approved", "ann", closed.resolved_at, {})
    assert row.digest == "sha256:" + "0" * 64, "what an approval is bound to never changes"
    assert [a.id for a in await approvals.pending(database)] == ["apr-002"]


async def test_payloads_are_kept_once(journal: Journal, database: Database) -> None:
    bodies = [b"", b"\x00\xff" * 5000, b""]
    parts = tuple(Payload(hashlib.sha256(body).digest(), "a/b", body) for body in bodies)
    await outcomes(journal, append("run-a", 0, payloads=parts), append("run-b", 0, payloads=parts))
    assert await others.payload(database, parts[1].digest) == parts[1]
    sizes = await others.payload_sizes(database, [p.digest for p in parts] + [b"\0" * 32])
    assert sizes == {parts[0].digest: 0, parts[1].digest: 10_000}


async def test_a_workspace_has_one_writer(journal: Journal, database: Database) -> None:
    take = WorkspaceChange("ws-1", "take", create=NewWorkspace("ex-1", "/src", "sha256:1", {"kind": "dir"}))
    found = await outcomes(
        journal,
        append("run-a", 0, workspace=take),
        append("run-b", 0, workspace=take),
        append("run-a", 1, workspace=take),
    )
    assert reasons(found) == ["ok", "WORKSPACE_BUSY", "ok"]
    row = await others.workspace(database, "ws-1")
    assert (row.executor, row.location, row.head_tree, row.holder_run, row.doc) == (
        *("ex-1", "/src", "sha256:1", "run-a"),
        {"kind": "dir"},
    )
    await journal.append(append("run-b", 0, workspace=WorkspaceChange("ws-1", "release")))
    assert (await others.workspace(database, "ws-1")).holder_run == "run-a", "not its to release"
    await journal.append(append("run-a", 2, workspace=WorkspaceChange("ws-1", "release")))
    await journal.append(append("run-b", 1, workspace=WorkspaceChange("ws-1", "take")))
    assert (await others.workspace(database, "ws-1")).holder_run == "run-b"


async def test_a_workspace_head_moves_by_compare_and_set(journal: Journal, database: Database) -> None:
    await journal.append(
        append("run-a", 0, workspace=WorkspaceChange("ws-1", create=NewWorkspace("ex-1", "/src", "sha256:1")))
    )
    move = WorkspaceChange("ws-1", head_from="sha256:1", head_to="sha256:2")
    found = await outcomes(journal, append("run-a", 1, workspace=move), append("run-a", 2, workspace=move))
    assert reasons(found) == ["ok", "WORKSPACE_HEAD_MOVED"]
    assert (await others.workspace(database, "ws-1")).head_tree == "sha256:2"
    missing = WorkspaceChange("ws-9", "take")
    assert reasons(await outcomes(journal, append("run-a", 2, workspace=missing))) == ["WORKSPACE_NOT_FOUND"]


async def test_one_refused_by_the_database_does_not_harm_the_rest(
    journal: Journal, database: Database
) -> None:
    bad = append("run-bad", 0, create=NewRun("nul \x00 is no text"))
    worse = replace(append("run-worse", 0), run_id="\ud800")
    found = await outcomes(journal, append("run-a", 0), bad, worse, append("run-b", 0))
    assert reasons(found) == ["ok", "INTERNAL", "INTERNAL", "ok"]
    assert "nul" not in str(found[1])
    assert [row.position for row in await events.of_feed(database)] == [1, 2]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (replace(append("run-a", 1), events=()), "numbered"),
        (replace(append("run-a", 1, 2), expected_seq=2), "numbered"),
        (replace(append("run-a", 1), events=(event("run-a", 2)._replace(hash=b"short"),)), "32 bytes"),
        (replace(append("run-a", 0), create=None), "first event"),
        (replace(append("run-a", 1), create=NewRun("again")), "first event"),
        (append("run-a", 1, approvals=(approval(1), approval(1))), "twice"),
    ],
)
async def test_a_malformed_append_is_refused_at_once(journal: Journal, broken: Append, said: str) -> None:
    with pytest.raises(InterlockError, match=said) as caught:
        await journal.append(broken)
    assert caught.value.reason is Reason.INTERNAL


async def test_too_much_at_once_is_refused(journal: Journal) -> None:
    with pytest.raises(InterlockError) as caught:
        await journal.append(append("run-a", 0, 20_001))
    assert caught.value.reason is Reason.MESSAGE_TOO_LARGE


async def test_a_very_large_plan_is_one_append(journal: Journal, database: Database) -> None:
    result = await journal.append(append("run-a", 0, 10_001))
    assert result.position == 10_001
    assert len(await events.of_run(database, "run-a", 9_500)) == 501


async def test_a_caller_who_goes_away_does_not_take_it_back(journal: Journal, database: Database) -> None:
    task = asyncio.create_task(journal.append(append("run-a", 0)))
    await asyncio.sleep(0)
    task.cancel()
    await journal.append(append("run-b", 0))
    assert (await runs.get(database, "run-a")).seq == 1


async def test_subscribers_hear_what_is_durable_in_order(journal: Journal, database: Database) -> None:
    heard: list[Flushed] = []
    stop = journal.on_flush(heard.append)
    await outcomes(
        journal, *(append("run-a", seq) for seq in range(3)), append("run-x", 5), append("run-b", 0, 2)
    )
    await journal.append(append("run-a", 3, head=RUNNING))
    rows = [row for news in heard for row in news.rows]
    assert rows == await events.of_feed(database)
    assert [(news.first, news.last) for news in heard] == [(1, 5), (6, 6)]
    stop()
    await journal.append(append("run-a", 4))
    assert len(heard) == 2


async def test_close_writes_what_is_waiting(database: Database) -> None:
    journal = Journal(database, batch=3)
    await journal.start()
    waiting = [asyncio.create_task(journal.append(append(f"run-{n}", 0))) for n in range(10)]
    await asyncio.sleep(0)
    await journal.close()
    assert [task.result().seq for task in waiting] == [1] * 10
    with pytest.raises(InterlockError) as caught:
        await journal.append(append("run-late", 0))
    assert caught.value.metadata["outcome"] == "not_written"


async def test_callers_wait_for_room(database: Database) -> None:
    journal = Journal(database, max_pending=5, batch=2)
    await journal.start()
    found = await asyncio.gather(*(journal.append(append(f"run-{n}", 0)) for n in range(40)))
    assert sorted(result.position for result in found) == list(range(1, 41))
    await journal.close()
