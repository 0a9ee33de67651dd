"""A real LiteLLM proxy as a process: by the program that LITELLM names, on a free port, before given servers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from tests.support.synapse import free_port

MASTER_KEY = "sk-litellm-master-0123456789"
INPUT, OUTPUT = 0.000_001, 0.000_002
"""Prices of a token in US dollars, as the proxy is told them."""
_SECONDS = 400


@dataclass(frozen=True)
class Upstream:
    """A server behind the proxy: its address with /v1, the model's name there, its key."""

    base_url: str
    model: str
    key: str


@contextmanager
def litellm(place: Path, models: Mapping[str, Upstream]) -> Iterator[str]:
    """The address of a proxy that knows these models, until the end of the block."""
    port = free_port()
    listed = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{each.model}",
                "api_base": each.base_url,
                "api_key": each.key,
                "input_cost_per_token": INPUT,
                "output_cost_per_token": OUTPUT,
            },
        }
        for name, each in models.items()
    ]
    config = {
        "model_list": listed,
        "litellm_settings": {"num_retries": 0},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": MASTER_KEY},
    }
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    command = [os.environ["LITELLM"], "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with open(place / "litellm.log", "wb") as log:
        process = subprocess.Popen(
            [*command, "--telemetry", "False"], cwd=place, env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, place / "litellm.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _SECONDS
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.get(f"{url}/health/liveliness").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
    raise AssertionError(f"LiteLLM does not serve:\n{log.read_text(errors='replace')[-3000:]}")
