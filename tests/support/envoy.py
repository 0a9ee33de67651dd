"""Envoy, as deploy/envoy/envoy.yaml configures it, in front of a gateway. ENVOY names its program."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

ENVOY = os.environ.get("ENVOY", "")
CONFIG = Path(__file__).resolve().parents[2] / "deploy/envoy/envoy.yaml"


@contextmanager
def envoy(place: Path, gateway: str) -> Iterator[str]:
    """Its address (TLS, by a certificate that this process trusts from now on), once it answers."""
    certificate, key = place / "tls.crt", place / "tls.key"
    _self_signed(certificate, key)
    port = _free_port()
    config = place / "envoy.yaml"
    config.write_text(yaml.safe_dump(_configured(port, gateway, certificate, key)))
    log = open(place / "envoy.log", "wb")  # noqa: SIM115 (the child's)
    process = subprocess.Popen(
        [ENVOY, "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"],
        stdout=log, stderr=log,
    )  # fmt: skip
    log.close()
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        _until_it_answers(f"https://127.0.0.1:{port}", process, place / "envoy.log")
        yield f"127.0.0.1:{port}"
    finally:
        del os.environ["SSL_CERT_FILE"]
        process.terminate()
        process.wait(30)


def _configured(port: int, gateway: str, certificate: Path, key: Path) -> Any:
    """The shipped file with other addresses and paths, and nothing else."""
    found = yaml.safe_load(CONFIG.read_text())
    listener, cluster = found["static_resources"]["listeners"][0], found["static_resources"]["clusters"][0]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    tls = listener["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    tls["tls_certificates"][0]["certificate_chain"]["filename"] = str(certificate)
    tls["tls_certificates"][0]["private_key"]["filename"] = str(key)
    host, _, target = gateway.rpartition(":")
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"] = {"address": host, "port_value": int(target)}
    return found


def _until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _self_signed(certificate: Path, key: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
