"""Every block of settings in docs/models.md is read by the real loader, and asks for what its heading says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interlock.planner.config import load_models
from interlock.planner.model_config import ModelsConfig

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
HOSTS = {
    "Ollama": "http://127.0.0.1:11434/v1",
    "vLLM": "http://gpu-host:8000/v1",
    "LiteLLM": "http://litellm:4000/v1",
    "OpenAI": "https://api.openai.com/v1",
    "Gemini's OpenAI endpoint": "https://generativelanguage.googleapis.com/v1beta/openai",
    "Smart Model Router": "http://router:8080",
}
VARIABLES = dict.fromkeys(("INTERLOCK_MODEL_OPENAI_KEY", "INTERLOCK_MODEL_GEMINI_KEY"), "a-key")


def blocks(title: str, language: str) -> list[str]:
    (section,) = (each for each in SECTIONS if each.startswith(title + "\n"))
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("a-key\n")
    return path


def of_file(text: str, key: Path) -> ModelsConfig:
    path = key.with_name("gateways.yaml")
    path.write_text(re.sub(r"/run/secrets/[\w-]+", str(key), text))
    return load_models({"INTERLOCK_PLANNER_GATEWAYS": str(path), **VARIABLES})


@pytest.mark.parametrize("title", HOSTS)
def test_the_file_of_each_server_is_read(title: str, key: Path) -> None:
    (text,) = blocks(title, "yaml")
    (gateway,) = of_file(text, key).gateways
    assert gateway.base_url == HOSTS[title]
    assert gateway.gateway == ("router" if title == "Smart Model Router" else "openai")


@pytest.mark.parametrize("title", HOSTS)
def test_the_variables_of_each_server_say_the_same(title: str, key: Path) -> None:
    (text,) = blocks(title, "sh")
    env = dict(word.split("=", 1) for word in text.split() if "=" in word)
    if "INTERLOCK_MODEL_API_KEY_FILE" in env:
        env["INTERLOCK_MODEL_API_KEY_FILE"] = str(key)
    (one,) = load_models(env).gateways
    (other,) = of_file(blocks(title, "yaml")[0], key).gateways
    assert (one.gateway, one.base_url, one.model) == (other.gateway, other.base_url, other.model)
    assert one.max_prompt_chars == other.max_prompt_chars
    assert bool(one.api_key) == bool(other.api_key)


def test_the_file_of_several_gateways_is_read(key: Path) -> None:
    (text,) = blocks("Several gateways", "yaml")
    found = of_file(text, key)
    assert [each.name for each in found.gateways] == ["cloud", "smart", "spare"]
    assert found.routes["plan"] == ("cloud", "smart", "spare")
    assert found.routes["summarize"] == ("smart", "spare")
