"""Commands in advice: `RUN`, `STEP`, `APPROVAL` and `WORKSPACE` in them become the ids, where those are known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_COMMAND: Final = re.compile(r"`interlock [^`]*`")
_NAME: Final = re.compile(r"\b(?:RUN|STEP|APPROVAL|WORKSPACE)\b")
_ID: Final = re.compile(r"(?:[a-z]{2,4}-)?[0-9a-z]{1,26}")
_FACTS: Final = {"RUN": "run_id", "STEP": "step", "APPROVAL": "approval_id", "WORKSPACE": "workspace_id"}


def named(advice: str, facts: Mapping[str, str]) -> str:
    """The advice with commands that can be run as they stand.

    Args:
        advice: what to do; commands of Interlock stand between backquotes.
        facts: an error's metadata: `run_id`, `step`, `approval_id`, `workspace_id`. What is missing, or does not
            look like an id, stays a name: nobody's text gets into a command.
    """

    def known(name: re.Match[str]) -> str:
        fact = facts.get(_FACTS[name[0]], "")
        return fact if _ID.fullmatch(fact) else name[0]

    return _COMMAND.sub(lambda command: _NAME.sub(known, command[0]), advice)
