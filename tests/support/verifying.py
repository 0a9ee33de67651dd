"""What a journal's bytes alone tell, compared with what the orchestrator knows."""

from __future__ import annotations

import json

from tests.support.driven_run import DrivenRun

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.event import encode
from interlock.orchestrator.domain.inherit import inherited
from interlock.verify.effects import differs
from interlock.verify.link import Facts


def verifier_tells_the_same(driven: DrivenRun) -> None:
    """What a fork of the run as it is now would say of each step's effects is what its journal says."""
    facts, run = Facts(), driven.run
    for stored in driven.journal:
        facts(stored.recorded.seq, json.loads(stored.canonical), "")
    for step in run.steps:
        said = encode(e.StepsInherited(1, (inherited(run, step),)))["steps"][0]
        said.setdefault("effects", [])
        assert not differs(said, facts.presence.told(step.number, run.seq, run.run_id)), step.number
