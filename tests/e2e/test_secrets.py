"""Random secrets through a whole installation, printed in every way; then everything that was stored is looked through.

The keys of a model's gateway are such secrets too, with a server that echoes them in answers and in every fault.

Looked through are: every table of the database, every file below every directory of the installation (the database's
own files and its log of changes, the content store, the executor's records, logs), the decompressed rows of SQLite
files, spans that were exported, prompts that a model got, and what the command line shows.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.support.background import in_background
from tests.support.files_below import files_below
from tests.support.installation import INTERLOCK, Installation, running
from tests.support.models import HTML, MODEL, Answer, ScriptedServer, chat, of, scripted, streamed
from tests.support.otlp import Receiver, receiving
from tests.support.working import ended, pending, start, state, states

from interlock.cli.doctor.models import models as doctor
from interlock.cli.supervisor.database import environment as environment_of
from interlock.executor.secrets.encodings import forms
from interlock.v1.run_pb2 import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOKEN = secrets.token_urlsafe(30) + "/+<&>\"'\\é"
KEY = "-----BEGIN KEY-----\n" + "\n".join(secrets.token_hex(32) for _ in range(4)) + "\n-----END KEY-----"
VARIABLE = secrets.token_hex(20)
MODEL_KEY, MODEL_HEADER = f"planted/{secrets.token_urlsafe(30)}", secrets.token_urlsafe(30)
VALUES = {
    "deploy-token": TOKEN,
    "signing.key": KEY,
    "from-variable": VARIABLE,
    "model key": MODEL_KEY,
    "model header": MODEL_HEADER,
}
GATEWAYS = f"""
gateways:
  cloud:
    kind: openai
    base_url: URL/v1
    model: {MODEL}
    key: {MODEL_KEY}
    headers: {{x-tenant: {{env: INTERLOCK_MODEL_TENANT}}}}
    attempts: 1
    timeout: 3
    breaker: {{failures: 1000}}
  gone: {{kind: router, base_url: "http://127.0.0.1:9", key: {MODEL_KEY}, attempts: 1}}
routes: {{summarize: [gone, cloud], default: [cloud]}}
"""
ECHO = f"You sent {MODEL_KEY} and {MODEL_HEADER}."
_TOOL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ECHO}}
FAULTS = (
    (chat(ECHO), ""),
    (streamed(*(ECHO[at : at + 3] for at in range(0, len(ECHO), 3))), ""),
    (of({"error": {"message": ECHO}}, 401), "MODEL_UNAUTHENTICATED"),
    (of({"error": {"message": ECHO}}, 400), "MODEL_UNAVAILABLE"),
    (of({"error": {"message": ECHO}}, 429, retry_after="3600"), "MODEL_RATE_LIMITED"),
    (Answer(500, ECHO.encode()), "MODEL_UNAVAILABLE"),
    (Answer(307, b"", {"location": f"http://127.0.0.1:9/{MODEL_KEY}"}), "MODEL_UNAVAILABLE"),
    (Answer(200, HTML.body + ECHO.encode()), "MODEL_REPLY_INVALID"),
    (Answer(200, ECHO.encode() * 3, fault="cut"), "MODEL_REPLY_INVALID"),
    (Answer(200, ECHO.encode() * 3, fault="stall"), "MODEL_TIMEOUT"),
    (of({"choices": [{"message": {"refusal": ECHO}}]}), "MODEL_REFUSED"),
    (of({"choices": [{"message": {"content": None, "tool_calls": [_TOOL]}}]}), "MODEL_REPLY_INVALID"),
)

PRINT = r"""
import base64, html, json, os, sys, urllib.parse
for value in (os.environ["TOKEN"], open("/run/secrets/key").read(), os.environ["FROM_VARIABLE"]):
    raw = value.encode()
    for shift in (b"", b"x", b"xy"):
        padded = base64.b64encode(shift + raw + b"tail").decode()
        print(base64.b64encode(shift + raw).decode(), base64.urlsafe_b64encode(shift + raw + b"z").decode())
        for width in (1, 7, 64, 76):
            print("\n".join(padded[at : at + width] for at in range(0, len(padded), width)))
    print(raw.hex(), raw.hex().upper(), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value))
    print(json.dumps({"it": value}), json.dumps(json.dumps(value)), repr(value), html.escape(value), value)
    for size in (1, 3, 10):
        for at in range(0, len(raw), size):
            sys.stdout.flush()
            os.write(2, raw[at : at + size])
    os.write(2, b"\n")
print("the end")
"""
GIVEN = "secrets: {TOKEN: deploy-token, /run/secrets/key: signing.key, FROM_VARIABLE: from-variable}"
STEPS = (
    f"{{run_command: {{argv: [/usr/bin/python3, print.py], {GIVEN}}}, gate: both}}",
    f"{{run_command: {{command: 'echo $TOKEN $FROM_VARIABLE; exit 3', {GIVEN}}}, gate: none, on_failure: continue}}",
    f"{{run_command: {{command: 'echo $TOKEN > left', {GIVEN}}}, gate: none, on_failure: continue}}",
    "{run_command: {command: 'true', secrets: [absent-one]}, gate: none, on_failure: continue}",
    "analyze: {instruction: What happened?}",
)


@dataclass
class Done:
    """An installation that has run everything, and stopped."""

    up: Installation
    run: Run
    faults: Run
    model: ScriptedServer
    receiver: Receiver
    tables: dict[str, bytes]
    shown: list[bytes]


@pytest.fixture(scope="module")
def done() -> Iterator[Done]:
    with (
        tempfile.TemporaryDirectory(prefix="interlock-secrets-") as directory,
        tempfile.TemporaryDirectory(prefix="interlock-gateways-") as beside,
        in_background(scripted) as (model, _),
        in_background(receiving) as (receiver, _loop),
    ):
        gateways = Path(beside, "gateways.yaml")
        texts = {gateways: GATEWAYS.replace("URL", model.url)}
        for path, text in (
            texts | {Path(directory, n): VALUES[n] for n in ("deploy-token", "signing.key")}
        ).items():
            path.touch(mode=0o600)
            path.write_text(text)
        environment = {
            "INTERLOCK_SECRETS_DIR": directory,
            "INTERLOCK_SECRET_FROM_VARIABLE": VARIABLE,
            "INTERLOCK_LOG_LEVEL": "debug",
            "INTERLOCK_PLANNER_GATEWAYS": str(gateways),
            "INTERLOCK_MODEL_TENANT": MODEL_HEADER,
            "INTERLOCK_PLAN_ATTEMPTS": "1",
            **receiver.environment(),
        }
        model.script(chat("It is done."))
        with running(**environment) as up:
            run, shown = asyncio.run(_work(up))
            model.script(*(answer for answer, _ in FAULTS), chat(ECHO))
            faults = asyncio.run(_ask(up))
            services = ("orchestrator", "planner", "approval")
            environments = [psutil.Process(up.pid(service)).environ() for service in services]
            assert not [
                env for env in environments if any(name.startswith("INTERLOCK_SECRET") for name in env)
            ]
            others = [
                psutil.Process(up.pid(each)).environ() for each in ("orchestrator", "executor", "approval")
            ]
            assert not [env for env in others if MODEL_HEADER in env.values()]
            tables = dump(psutil.Process(up.pid("orchestrator")).environ()["INTERLOCK_DATABASE_URL"])
            shown += [told(up, "run", "get", run.run_id, "-o", "json"), told(up, "run", "watch", run.run_id)]
            shown += [told(up, "run", verb, faults.run_id, "-o", "json") for verb in ("get", "cost")]
            with environment_of(
                up.env
            ):  # what `interlock doctor` says of gateways; the rest of it takes long
                shown.append(repr(asyncio.run(doctor())).encode())
            up.stop()
            yield Done(up, run, faults, model, receiver, tables, shown)


async def _work(up: Installation) -> tuple[Run, list[bytes]]:
    shown: list[bytes] = []
    async with up.client() as client:
        run = await start(
            client, up.project(print__py=PRINT), *STEPS, head="policy: {steps_may_weaken: true}"
        )
        for _ in ("command", "effect"):
            approval = await pending(client, run)
            shown.append(approval.SerializeToString())
            text = await asyncio.to_thread(told, up, "approvals", "show", approval.approval_id)
            assert b"deploy-token in TOKEN" in text
            shown.append(text)
            await client.decide(approval, "approve")
        return await ended(client, run), shown


async def _ask(up: Installation) -> Run:
    """A run with a question for each answer and fault of the model's server."""
    async with up.client() as client:
        steps = ["{analyze: {instruction: What is it?}, on_failure: continue}"] * len(FAULTS)
        steps.append("summarize: {instruction: Say it.}")
        return await ended(client, await start(client, up.project(a="1"), *steps))


def told(up: Installation, *arguments: str) -> bytes:
    """What a command of the command line prints."""
    found = subprocess.run(
        [*INTERLOCK, *arguments], env=up.env, capture_output=True, timeout=100, check=False
    )
    return found.stdout + found.stderr


def dump(url: str) -> dict[str, bytes]:
    """Every table as COPY gives it; bytes as hexadecimal digits."""
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        names = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        tables = {}
        for (name,) in names:
            with connection.cursor().copy(f"COPY {name} TO STDOUT") as copy:
                tables[name] = b"".join(bytes(block) for block in copy)
        return tables


def rows(path: Path) -> Iterator[bytes]:
    """Every value of a SQLite file, as it is and decompressed."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            for value in (value for row in db.execute(f"SELECT * FROM {table}") for value in row):
                cell = value if isinstance(value, bytes) else str(value).encode()
                yield cell
                try:
                    yield zlib.decompress(cell)
                except zlib.error:
                    continue


FORMS = {name: list(forms(value.encode())) for name, value in VALUES.items()}


def planted(data: bytes) -> list[tuple[str, bytes]]:
    """Secrets in it, in any form, also as hexadecimal digits of a form."""
    flat = data.translate(None, b"\r\n")
    return [
        (name, form)
        for name, known in FORMS.items()
        for form in known
        if form in flat or form.hex().encode() in flat
    ]


def test_the_search_itself_finds_what_is_there() -> None:
    assert planted(b"x" + TOKEN.encode() + b"y")[0][0] == "deploy-token"
    assert planted(b"\\\\x" + KEY.encode().hex().encode())[0][0] == "signing.key"


def test_the_run_did_what_it_should(done: Done) -> None:
    assert state(done.run) == "COMPLETED"
    assert states(done.run) == ["SUCCEEDED", "FAILED", "FAILED", "FAILED", "SUCCEEDED"]
    reasons = [step.failure.reason for step in done.run.steps]
    assert reasons == ["", "COMMAND_FAILED", "EFFECT_NOT_PUBLISHABLE", "SECRET_NOT_FOUND", ""]


def test_every_fault_of_the_model_was_there_with_the_key_sent(done: Done) -> None:
    assert [step.failure.reason for step in done.faults.steps] == [*(reason for _, reason in FAULTS), ""]
    asked = done.model.asked[-len(FAULTS) - 1 :]
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {MODEL_KEY}"}
    assert {request.headers["x-tenant"] for request in asked} == {MODEL_HEADER}
    assert any(b"model routes" in text for text in done.shown)
    assert any(b"You sent *** and ***." in text for text in done.shown)


def test_the_fallback_stands_in_the_run(done: Done) -> None:
    (call,) = done.faults.steps[-1].model_calls
    assert call.gateway == "cloud"
    assert [(each.gateway, each.reason) for each in call.passed_over] == [("gone", "MODEL_UNAVAILABLE")]
    assert any(b"gone" in text and b"does not answer" in text for text in done.shown)


def test_the_database_has_names_and_no_values(done: Done) -> None:
    whole = b"".join(done.tables.values())
    assert len(done.tables) > 5
    assert b"deploy-token" in whole or b"deploy-token".hex().encode() in whole
    assert {name: planted(data) for name, data in done.tables.items() if planted(data)} == {}


def test_no_file_of_the_installation_has_a_value(done: Done) -> None:
    seen = 0
    for path, data in files_below(done.up.home):
        seen += 1
        assert not planted(data), path
        if path.suffix == ".db":
            assert not [found for value in rows(path) if (found := planted(value))], path
    assert seen > 100
    assert any(b"[secret:deploy-token]" in value for value in rows(done.up.home / "executor" / "effects.db"))


def test_no_log_span_prompt_or_answer_has_a_value(done: Done) -> None:
    assert "command ended" in done.up.log("executor")
    for service in ("", "orchestrator", "executor", "planner", "approval"):
        assert not planted(done.up.log(service).encode()), service
    assert any(span.name == "executor.prepare" for span in done.receiver.spans)
    assert not planted(repr(done.receiver.spans).encode())
    prompts = b"".join(request.body for request in done.model.requests)
    assert b"[secret:deploy-token]" in prompts
    assert not planted(prompts)
    assert any(b"[secret:signing.key]" in text for text in done.shown)
    assert not [found for text in (*done.shown, done.run.SerializeToString()) if (found := planted(text))]
