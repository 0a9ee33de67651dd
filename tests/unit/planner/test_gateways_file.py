"""Several gateways from a file: what is read, and by which line and field it is said what is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.planner.config import load_models
from interlock.planner.domain.model import PURPOSES, Price
from interlock.planner.model_config import ModelsConfig

KEY = "planted-4f2a-unit-test"
WHOLE = """\
gateways:
  team:
    kind: openai
    base_url: http://litellm:4000/v1/
    model: team-default
    key_file: {key_file}
    headers: {{x-team: research, x-api-token: {{env: INTERLOCK_MODEL_EXTRA}}}}
    timeout: 60
    attempts: 2
    concurrency: 4
    breaker: {{failures: 3, seconds: 1.5}}
    price: {{prompt: 0.15, completion: 0.60}}
    max_prompt_chars: 24000
  smart: {{kind: router, base_url: "http://router:8080", tier: hard, key_env: INTERLOCK_MODEL_SMART}}
  spare: {{kind: local, timeout: 300}}
routes:
  plan: [team, smart, spare]
  draft: [smart]
  default: [spare]
"""
ENV = {"INTERLOCK_MODEL_EXTRA": KEY + "-extra", "INTERLOCK_MODEL_SMART": KEY + "-smart"}


def read(tmp_path: Path, text: str, mode: int = 0o644, **env: str) -> ModelsConfig:
    path = tmp_path / "gateways.yaml"
    path.write_text(text)
    path.chmod(mode)
    return load_models({"INTERLOCK_PLANNER_GATEWAYS": str(path), **env})


def whole(tmp_path: Path) -> ModelsConfig:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    return read(tmp_path, WHOLE.format(key_file=key_file), **ENV, INTERLOCK_PLAN_ATTEMPTS="2")


def test_every_setting_is_read(tmp_path: Path) -> None:
    found = whole(tmp_path)
    team, smart, spare = found.gateways
    assert (team.name, team.gateway, team.base_url, team.model) == (
        "team",
        "openai",
        "http://litellm:4000/v1",
        "team-default",
    )
    assert (team.timeout_s, team.attempts, team.concurrency, team.max_prompt_chars) == (60, 2, 4, 24_000)
    assert (team.breaker_failures, team.breaker_seconds) == (3, 1.5)
    assert team.price == Price(Decimal("0.15"), Decimal("0.60"))
    assert team.api_key is not None
    assert team.api_key.reveal() == KEY
    assert [(each.name, each.value.reveal(), each.hidden) for each in team.headers] == [
        ("x-team", "research", False),
        ("x-api-token", ENV["INTERLOCK_MODEL_EXTRA"], True),
    ]
    assert smart.api_key is not None
    assert (smart.api_key.reveal(), smart.router_tier) == (ENV["INTERLOCK_MODEL_SMART"], "hard")
    assert (spare.gateway, spare.timeout_s, spare.attempts) == ("local", 300, 3)
    assert found.routes == {
        "plan": ("team", "smart", "spare"),
        "analyze": ("spare",),
        "summarize": ("spare",),
        "draft": ("smart",),
    }
    assert found.plan_attempts == 2


def test_no_key_shows_itself(tmp_path: Path) -> None:
    assert KEY not in f"{whole(tmp_path)!r} {whole(tmp_path)}"


def test_without_routes_all_are_asked_in_their_order(tmp_path: Path) -> None:
    found = read(
        tmp_path, "gateways: {b: {kind: local}, a: {kind: openai, base_url: 'http://h', model: m}}\n"
    )
    assert found.routes == dict.fromkeys(PURPOSES, ("b", "a"))


def test_a_key_in_the_file_needs_a_private_file(tmp_path: Path) -> None:
    text = f"gateways: {{a: {{kind: openai, base_url: 'http://h', model: m, key: {KEY}}}}}\n"
    (gateway,) = read(tmp_path, text, 0o600).gateways
    assert gateway.api_key is not None
    assert gateway.api_key.reveal() == KEY
    for wrong in (text, text.replace("key: ", "headers: {x-auth: ").replace("}}", "}}}")):
        with pytest.raises(InterlockError) as caught:
            read(tmp_path, wrong, 0o640)
        assert caught.value.reason is Reason.PERMISSION_DENIED
        assert "chmod 600" in caught.value.fix
        assert KEY not in f"{caught.value} {caught.value.fix}"


A = "gateways:\n  a:\n    kind: openai\n    base_url: http://h/v1\n    model: m\n"


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("", 0, "INTERLOCK_PLANNER_GATEWAYS"),
        ("- x\n", 1, "INTERLOCK_PLANNER_GATEWAYS"),
        ("gateways: [\n", 2, "INTERLOCK_PLANNER_GATEWAYS"),
        ("gateways: {}\n", 1, "gateways"),
        ("routes: {}\n", 1, "gateways"),
        ("gateways:\n  Team:\n    kind: local\n", 3, "gateways.Team"),
        ("gateways:\n  recorded: {kind: local}\n", 2, "gateways.recorded"),
        ("gateways:\n  a: {kind: oracle}\n", 2, "gateways.a.kind"),
        ("gateways:\n  a: {model: m}\n", 2, "gateways.a.kind"),
        ("gateways:\n  a: {kind: local, model: m}\n", 2, "gateways.a.model"),
        ("gateways:\n  a: {kind: openai, model: m}\n", 2, "gateways.a.base_url"),
        ("gateways:\n  a: {kind: openai, base_url: http://h}\n", 2, "gateways.a.model"),
        (A + "  a:\n    kind: local\n", 6, "INTERLOCK_PLANNER_GATEWAYS"),
        (A + "    timeout: soon\n", 6, "gateways.a.timeout"),
        (A + "    timeout: 0\n", 6, "gateways.a.timeout"),
        (A + "    tier: hard\n", 6, "gateways.a.tier"),
        (A + "    breaker: {failures: 0}\n", 6, "gateways.a.breaker.failures"),
        (A + "    breaker: {minutes: 1}\n", 6, "gateways.a.breaker.minutes"),
        (A + "    price: {prompt: 1}\n", 6, "gateways.a.price.completion"),
        (A + "    price: {prompt: -1, completion: 1}\n", 6, "gateways.a.price.prompt"),
        (A + f"    key: '{KEY} {KEY}'\n", 6, "gateways.a.key"),
        (A + f"    key: {KEY}\n    key_file: /x\n", 7, "gateways.a.key_file"),
        (A + f"    key: [{KEY}]\n", 6, "gateways.a.key"),
        (A + "    key_file: /nonexistent/key\n", 6, "gateways.a.key_file"),
        (A + "    key_file: relative\n", 6, "gateways.a.key_file"),
        (A + "    key_env: OPENAI_API_KEY\n", 6, "gateways.a.key_env"),
        (A + "    key_env: INTERLOCK_MODEL_UNSET\n", 6, "gateways.a.key_env"),
        (A + "    headers: {content-length: '1'}\n", 6, "gateways.a.headers.content-length"),
        (A + '    headers: {x: "a\\r\\nb: c"}\n', 6, "gateways.a.headers.x"),
        (A + f"    headers: {{x-key: {{value: {KEY}}}}}\n", 6, "gateways.a.headers.x-key.value"),
        (A + "routes: {plan: [b]}\n", 6, "routes.plan[0]"),
        (A + "routes: {plan: []}\n", 6, "routes.plan"),
        (A + "routes: {plan: [a, a]}\n", 6, "routes.plan"),
        (A + "routes: {think: [a]}\n", 6, "routes.think"),
        (A + "  b: {kind: local}\nroutes: {default: [b]}\n", 3, "gateways.a"),
        (A.replace("http://h/v1", f"http://u:{KEY}@h/v1"), 4, "gateways.a.base_url"),
    ],
)
def test_what_is_wrong_is_said_by_line_and_field(tmp_path: Path, text: str, line: int, field: str) -> None:
    with pytest.raises(InterlockError) as caught:
        read(tmp_path, text, 0o600)
    error = caught.value
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, field)
    assert f", line {line}:" in str(error) if line else "gateways.yaml:" in str(error)
    assert error.fix
    assert KEY not in f"{error} {error.fix} {error.metadata}"


@pytest.mark.parametrize(
    "name", ["INTERLOCK_MODEL_GATEWAY", "INTERLOCK_MODEL_NAME", "INTERLOCK_MODEL_TIMEOUT"]
)
def test_a_variable_that_would_mean_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InterlockError) as caught:
        read(tmp_path, A, **{name: "5"})
    assert caught.value.field == name


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"# " + b"x" * 300_000])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gateways.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InterlockError) as caught:
        load_models({"INTERLOCK_PLANNER_GATEWAYS": str(path)})
    assert caught.value.field == "INTERLOCK_PLANNER_GATEWAYS"
    assert str(path) in str(caught.value)


def test_prices_are_whole_micro_dollars_rounded_up() -> None:
    price = Price(Decimal("0.15"), Decimal("0.60"))
    assert (price.of(1_000_000, 0), price.of(0, 1_000_000), price.of(1, 1)) == (150_000, 600_000, 1)
