"""The code on the page about webhooks checks signatures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from interlock.orchestrator.webhooks.signing import headers, key_of, new_secret

PAGE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
SECRET, OTHER = new_secret(), new_secret()
BODY = '{"type":"approval.requested","data":{"title":"é"}}'.encode()


def code(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def cases() -> list[tuple[str, dict[str, str], bytes, bool]]:
    now = int(time.time())
    made = headers(key_of(SECRET), "whd-1", now, BODY)
    several = {**made, "webhook-signature": f"v1,AAAA {made['webhook-signature']}"}
    return [
        (SECRET, made, BODY, True),
        (SECRET, several, BODY, True),
        (OTHER, made, BODY, False),
        (SECRET, made, BODY + b" ", False),
        (SECRET, {**made, "webhook-id": "whd-2"}, BODY, False),
        (SECRET, headers(key_of(SECRET), "whd-1", now - 3600, BODY), BODY, False),
    ]


def test_in_python() -> None:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    for secret, sent, body, genuine in cases():
        assert names["is_genuine"](secret, sent, body) is genuine


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_in_node() -> None:
    given = [[secret, sent, body.decode(), genuine] for secret, sent, body, genuine in cases()]
    check = f"""{code("js")}
    for (const [secret, headers, body, genuine] of {json.dumps(given)})
      if (isGenuine(secret, headers, Buffer.from(body)) !== genuine) throw new Error(JSON.stringify(headers));
    """
    done = subprocess.run(["node", "-e", check], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
