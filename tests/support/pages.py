"""Pages of documentation run as a person would: their shell blocks, in order, in one bash, beside real services."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.installation import Installation

MARK = "@@@@"
DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^## (?P<heading>[^\n]*)$|^```sh\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """What each section of a page wrote, standard output and standard error together.

    Args:
        name: the file in docs/.
        up: the services, whose environment the shell gets, with each service's address in a variable of its name.
        seconds: most time the whole page may take.
        only: the one section to run; empty = all.
    """

    def __init__(self, name: str, up: Installation, seconds: float = 110, *, only: str = "") -> None:
        self.blocks = [(heading, code) for heading, code in blocks(name) if only in ("", heading)]
        script = "set -u\n" + "".join(f"echo '{MARK}{heading}'\n{code}" for heading, code in self.blocks)
        env = {
            **up.env,
            **{service.upper(): address for service, address in up.endpoints.items()},
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "TMPDIR": str(up.home),
        }
        done = subprocess.run(
            ["/bin/bash", "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        self.output = done.stdout
        assert done.returncode == 0, self.output
        for unwanted in ("sed:", "unbound variable", "command not found", "Traceback"):
            assert unwanted not in self.output, self.output

    @property
    def headings(self) -> list[str]:
        """Each heading once; empty for what stands before the first."""
        return list(dict.fromkeys(heading for heading, _ in self.blocks))

    def said(self, heading: str) -> str:
        """What the blocks under a heading wrote."""
        parts = (part.partition("\n") for part in self.output.split(MARK)[1:])
        return "".join(text for name, _, text in parts if name == heading)


def blocks(name: str) -> list[tuple[str, str]]:
    """Each shell block of a page with the heading it stands under."""
    found, heading = [], ""
    for match in _BLOCK.finditer((DOCS / name).read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        if match["code"]:
            found.append((heading, match["code"]))
    return found
