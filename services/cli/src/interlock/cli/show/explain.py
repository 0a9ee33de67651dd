"""What a run waits for."""

from __future__ import annotations

from interlock.cli.output import show_one
from interlock.cli.safe import escape
from interlock.cli.settings import Settings
from interlock.cli.text import enum_text, time_text
from interlock.v1.explain_pb2 import ExplainRunResponse
from interlock.v1.run_pb2 import RunState


def show_explanation(settings: Settings, said: ExplainRunResponse) -> None:
    """The sentence, since when, what there is to know about it, and commands."""

    def people() -> None:
        print(escape(f"{said.run_id} is {enum_text(RunState, said.state)}. It waits for:"))
        print(escape(f"  {said.summary}"))
        print(f"  since {time_text(said.since)}")
        for line in said.details:
            print(escape(f"  {line}"))
        if said.options:
            print("\nWhat can be done:")
        for option in said.options:
            print(escape(f"  {option.command}"))
            print(escape(f"      {option.effect}"))

    show_one(settings, said, people)
