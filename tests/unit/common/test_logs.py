from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import context as otel_context

from interlock.common import logs, telemetry
from interlock.common.errors import InterlockError

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    logs._be_quiet()
    structlog.contextvars.clear_contextvars()


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_one_json_object_a_line_with_ids(output: io.StringIO) -> None:
    logs.setup("interlock-test", stream=output)
    token = otel_context.attach(telemetry.extract(PARENT))
    try:
        with logs.bound(run_id="run-1", step=3):
            logs.get("worker").info("step ended", exit_code=0, text="two\nlines")
    finally:
        otel_context.detach(token)
    logs.get("worker").info("outside")
    first, second = lines(output)
    expected = {
        "service": "interlock-test",
        "component": "worker",
        "level": "info",
        "event": "step ended",
        "run_id": "run-1",
        "step": 3,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "exit_code": 0,
        "text": "two\nlines",
    }
    assert expected.items() <= first.items()
    assert first["time"].endswith("Z")
    assert not {"run_id", "step", "trace_id"} & set(second)


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level(output: io.StringIO, monkeypatch: pytest.MonkeyPatch, level: str, count: int) -> None:
    monkeypatch.setenv("INTERLOCK_LOG_LEVEL", level.upper())
    logs.setup("interlock-test", stream=output)
    log = logs.get("x")
    for method in (log.debug, log.info, log.warning, log.error):
        method("m")
    assert len(lines(output)) == count


def test_every_line_is_cleaned_before_it_is_written(
    output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.setup("interlock-test", stream=output)
    monkeypatch.setattr(logs, "_cleaner", None)  # restored at the end
    logs.clean_with(lambda line: line.replace("hunter2", "[secret:x]"))
    with logs.bound(run_id="hunter2"):
        logs.get("hunter2").info("it is hunter2", text="hunter2")
    try:
        raise ValueError("hunter2")
    except ValueError:
        logging.getLogger("library").exception("failed with %s", "hunter2")
    assert "hunter2" not in output.getvalue()
    assert [line["event"] for line in lines(output)] == ["it is [secret:x]", "failed with [secret:x]"]


def test_before_setup_nothing_is_written_to_stdout() -> None:
    code = "from interlock.common import logs; log = logs.get('x'); log.info('chatter'); log.warning('odd')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == ""
    assert "odd" in ended.stderr
    assert "chatter" not in ended.stderr


def test_unknown_level_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOG_LEVEL", "loud")
    with pytest.raises(InterlockError) as caught:
        logs.setup("interlock-test")
    assert caught.value.field == "INTERLOCK_LOG_LEVEL"


def test_libraries_log_in_the_same_form(output: io.StringIO) -> None:
    logs.setup("interlock-test", stream=output)
    logging.getLogger("some.library").warning("odd %s", "thing")
    logging.getLogger("some.library").info("chatter")
    (line,) = lines(output)
    assert (line["event"], line["logger"], line["level"]) == ("odd thing", "some.library", "warning")
    assert line["service"] == "interlock-test"


def test_exceptions_are_one_line_too(output: io.StringIO) -> None:
    logs.setup("interlock-test", stream=output)
    try:
        raise ValueError("inner")
    except ValueError:
        logs.get("x").exception("failed")
    (line,) = lines(output)
    assert "ValueError: inner" in line["exception"]


def test_values_json_does_not_know_are_shown_as_text(output: io.StringIO) -> None:
    logs.setup("interlock-test", stream=output)
    logs.get("x").info("m", value={1}, raw=b"\xff")
    assert lines(output)[0]["value"] == "{1}"
