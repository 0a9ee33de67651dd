"""What is asked by HTTP: the gateway by a program, and by a step that was given that host and no other."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from tests.interop.containers.conftest import Stack
from tests.interop.containers.test_runs import output

GATEWAY = "http://127.0.0.1:8002"
ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(url, urllib.request.urlopen(url, timeout=20).status)
    except urllib.error.HTTPError as error:
        print(url, error.code)
    except OSError:
        print(url, "unreachable")
"""


def test_the_gateway_answers_a_program_with_the_token_and_nobody_else(stack: Stack) -> None:
    request = urllib.request.Request(f"{GATEWAY}/v1/runs", headers={"Authorization": f"Bearer {stack.token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert isinstance(json.load(answer), dict)
    try:
        with urllib.request.urlopen(f"{GATEWAY}/v1/runs", timeout=60) as answer:
            status = answer.status
    except urllib.error.HTTPError as refused:
        status = refused.code
    assert status == 401


def test_the_images_gateway_has_the_console(stack: Stack) -> None:
    for path, said in (
        ("/", b'<div id="app">'),
        ("/console/app.js", b"/v1/approvals"),
        ("/console/style.css", b"{"),
    ):
        with urllib.request.urlopen(GATEWAY + path, timeout=60) as answer:
            assert answer.status == 200
            assert said in answer.read(), path
    assert "node" not in stack.inside("gateway", "ls", "/opt/interlock/bin"), (
        "Node stays in the building stage"
    )


def test_a_step_reaches_the_host_that_it_asked_for_and_no_other(stack: Stack) -> None:
    _, there = stack.project(ask__py=ASK)
    urls = "http://gateway:8002/healthz http://approval:7404/"
    command = f'command: "python3 ask.py {urls}"'
    granted = output(stack, there, f'{{run_command: {{{command}, network: {{hosts: ["gateway:8002"]}}}}}}')
    assert granted == ["http://gateway:8002/healthz 200", "http://approval:7404/ 403"]
    alone = output(stack, there, f"{{run_command: {{{command}}}}}")
    assert alone == ["http://gateway:8002/healthz unreachable", "http://approval:7404/ unreachable"]
