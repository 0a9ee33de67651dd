"""`interlock webhook`, every command of it, on a whole installation and a real receiver."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.background import in_background
from tests.support.installation import Installation, wait_until
from tests.support.webhook_receiver import Receiver, receiving
from typer.testing import CliRunner

from interlock.cli.main import app


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with in_background(receiving) as (it, _):
        yield it


class Webhooks:
    """The command, run in this process."""

    def __init__(self, up: Installation) -> None:
        self._env: dict[str, str | None] = {name: up.env.get(name) for name in {*os.environ, *up.env}}

    def __call__(self, *line: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["webhook", *line], env=self._env, prog_name="interlock")
        assert done.exit_code == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *line: str) -> Any:
        return json.loads(self(*line, "-o", "json").stdout)


def test_an_endpoint_from_its_registration_to_its_end(up: Installation, receiver: Receiver) -> None:
    webhook = Webhooks(up)
    added = webhook("add", f"{receiver.url}/hook", "--filter", "event=requested", "--note", "for the tests")
    secret = added.stdout.strip()
    assert secret.startswith("whsec_")
    assert "whsec_" not in added.stderr
    (listed,) = [each for each in webhook.json("list")["webhooks"] if each["note"] == "for the tests"]
    id_ = listed["webhookId"]
    assert listed["events"] == ["APPROVAL_EVENT_KIND_REQUESTED"]
    assert secret not in json.dumps(listed)
    shown = webhook("list").stdout
    assert f"{receiver.url}/hook" in shown
    assert "requested" in shown

    sent = webhook.json("test", id_)["deliveryId"]
    wait_until(lambda: [each for each in receiver.accepted if each.id == sent])
    assert receiver.accepted[0].is_signed_by(secret)
    wait_until(lambda: webhook.json("deliveries", id_, "--state", "delivered")["deliveries"])

    receiver.answer = lambda _: 500
    lost = webhook.json("test", id_)["deliveryId"]
    dead = wait_until(lambda: webhook.json("deliveries", id_, "--state", "dead")["deliveries"])
    assert [(each["deliveryId"], each["attempts"], each["lastError"]) for each in dead] == [
        (lost, 2, "status 500")
    ]
    table = webhook("deliveries", id_).stdout
    assert [line.split()[1] for line in table.splitlines()[1:]] == ["DEAD", "DELIVERED"]
    assert "status 500" in table

    receiver.answer = lambda _: 200
    assert webhook.json("redeliver", lost)["state"] == "WEBHOOK_DELIVERY_STATE_PENDING"
    wait_until(lambda: [each for each in receiver.accepted if each.id == lost])
    assert id_ in webhook("remove", id_).stderr
    assert webhook("deliveries", id_, code=5).stderr.count(id_) == 1
    assert id_ not in json.dumps(webhook.json("list"))


def test_what_is_refused_says_what_to_do(up: Installation, tmp_path: Any) -> None:
    webhook = Webhooks(up)
    for line, said in (
        (["add", "http://169.254.169.254/latest"], "INTERLOCK_WEBHOOK_ALLOW"),
        (["add", "http://[::ffff:10.0.0.1]/"], "INTERLOCK_WEBHOOK_ALLOW"),
        (["add", "ftp://example.org/"], "https://"),
        (["add", "https://user:word@example.org/"], "password"),
        (["add", "https://example.org/", "--filter", "colour=red"], "workspace-label.KEY="),
        (["add", "https://example.org/", "--secret-from", str(tmp_path / "none")], "There is no secret"),
        (["add", "https://example.org/", "--secret-from", "env:NO_SUCH_VARIABLE"], "it is empty"),
    ):
        done = webhook(*line, code=2)
        assert said in done.stderr, done.stderr
    secret = tmp_path / "secret"
    secret.write_text("whsec_short\n")
    done = webhook("add", "https://example.org/", "--secret-from", str(secret), code=2)
    assert "short" not in done.stderr
    assert "whk-0" in webhook("test", "whk-" + "0" * 26, code=5).stderr
