from __future__ import annotations

from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.planner.config import load, load_model
from interlock.planner.gateways import factory
from interlock.planner.gateways.local import LocalGateway
from interlock.planner.gateways.openai import OpenAIGateway
from interlock.planner.gateways.router import RouterGateway
from interlock.planner.model_config import ModelConfig, Secret

KEY = "sk-unit-test-key"
OPENAI = {
    "INTERLOCK_MODEL_GATEWAY": "openai",
    "INTERLOCK_MODEL_BASE_URL": "http://h:1/v1/",
    "INTERLOCK_MODEL_NAME": "m",
}


def test_the_local_model_is_the_default() -> None:
    assert load_model({}) == ModelConfig()
    assert ModelConfig().gateway == "local"


def test_every_setting_is_read(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    config = load(
        {
            **OPENAI,
            "INTERLOCK_MODEL_API_KEY": KEY,
            "INTERLOCK_MODEL_TIMEOUT": "9",
            "INTERLOCK_MODEL_ATTEMPTS": "2",
            "INTERLOCK_PLAN_ATTEMPTS": "4",
            "INTERLOCK_MODEL_MAX_PROMPT_CHARS": "5000",
            "INTERLOCK_MODEL_MAX_REPLY_TOKENS": "100",
            "INTERLOCK_MODEL_MAX_REPLY_BYTES": "2048",
            "INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0",
            "INTERLOCK_READY_FILE": str(ready),
        }
    )
    (model,) = config.models.gateways
    assert (model.gateway, model.base_url, model.model) == ("openai", "http://h:1/v1", "m")
    assert model.api_key is not None
    assert model.api_key.reveal() == KEY
    assert (model.timeout_s, model.attempts, config.models.plan_attempts) == (9, 2, 4)
    assert (model.max_prompt_chars, model.max_reply_tokens, model.max_reply_bytes) == (5000, 100, 2048)
    assert (config.address.port, config.ready_file) == (0, ready)


def test_a_key_does_not_show_itself() -> None:
    config = load_model({**OPENAI, "INTERLOCK_MODEL_API_KEY": KEY})
    assert KEY not in f"{config!r} {config} {Secret(KEY)!r} {Secret(KEY)}"


def test_a_key_file_is_read_when_no_key_is_given(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    config = load_model({**OPENAI, "INTERLOCK_MODEL_API_KEY_FILE": str(path)})
    assert config.api_key is not None
    assert config.api_key.reveal() == KEY
    both = load_model(
        {**OPENAI, "INTERLOCK_MODEL_API_KEY_FILE": str(path), "INTERLOCK_MODEL_API_KEY": "other"}
    )
    assert both.api_key is not None
    assert both.api_key.reveal() == "other"


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"INTERLOCK_MODEL_GATEWAY": "x"}, "INTERLOCK_MODEL_GATEWAY"),
        ({"INTERLOCK_MODEL_GATEWAY": "router"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_NAME": ""}, "INTERLOCK_MODEL_NAME"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": "ftp://h"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": "h:1"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": "http://"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": "http://[::1"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": "http://h:99999"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": f"http://u:{KEY}@h"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_BASE_URL": f"http://h/?key={KEY}"}, "INTERLOCK_MODEL_BASE_URL"),
        ({**OPENAI, "INTERLOCK_MODEL_API_KEY": f"{KEY} x"}, "INTERLOCK_MODEL_API_KEY"),
        ({**OPENAI, "INTERLOCK_MODEL_API_KEY": KEY * 1000}, "INTERLOCK_MODEL_API_KEY"),
        ({**OPENAI, "INTERLOCK_MODEL_API_KEY_FILE": "/nonexistent/key"}, "INTERLOCK_MODEL_API_KEY_FILE"),
        ({**OPENAI, "INTERLOCK_MODEL_API_KEY_FILE": "/dev/null"}, "INTERLOCK_MODEL_API_KEY_FILE"),
        ({**OPENAI, "INTERLOCK_MODEL_API_KEY_FILE": "relative"}, "INTERLOCK_MODEL_API_KEY_FILE"),
        ({**OPENAI, "INTERLOCK_MODEL_TIMEOUT": "0"}, "INTERLOCK_MODEL_TIMEOUT"),
        ({**OPENAI, "INTERLOCK_MODEL_ATTEMPTS": "many"}, "INTERLOCK_MODEL_ATTEMPTS"),
    ],
)
def test_a_wrong_setting_is_named_and_no_key_shown(env: dict[str, str], field: str) -> None:
    with pytest.raises(InterlockError) as caught:
        load_model(env)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, field)
    assert KEY not in f"{caught.value} {caught.value.fix}"


async def test_the_factory_builds_what_is_configured() -> None:
    local = factory.build(ModelConfig())
    openai = factory.build(load_model(OPENAI))
    router = factory.build(ModelConfig(gateway="router", base_url="http://h", max_prompt_chars=400_000))
    assert isinstance(local, LocalGateway)
    assert isinstance(openai, OpenAIGateway)
    assert isinstance(router, RouterGateway)
    assert (openai.info.base_url, openai.info.dialect) == ("http://h:1/v1", "rich")
    assert (router.info.max_prompt_chars, router.info.dialect) == (100_000, "router")
    assert "small and often wrong" in local.info.notice
    for gateway in (local, openai, router):
        await gateway.aclose()
