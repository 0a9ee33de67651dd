"""Arguments and options that several commands of `interlock run` take."""

from __future__ import annotations

from typing import Annotated, Final

import typer

MAX_STEPS: Final = 10_000
"""No run has more, so no step has a higher number."""

RUN = Annotated[str, typer.Argument(help="Run id, `run-…`, or its beginning.")]
COMMENT = Annotated[str, typer.Option("--comment", "-m", help="Why; journaled.")]
TIMEOUT = Annotated[
    str, typer.Option("--timeout", help="Stop waiting after this long (90, 90s, 5m); the run goes on.")
]
PLAN = Annotated[str, typer.Option("--plan", help="Plan file, YAML or JSON; - = standard input.")]
GOAL = Annotated[str, typer.Option("--goal", help="Let the model plan towards this goal.")]
LABEL = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; repeatable.")]
IN_LINE = Annotated[
    bool,
    typer.Option(
        "--wait-for-workspace", help="While another run has the workspace, wait in line instead of failing."
    ),
]
REPLAY_FROM = Annotated[
    str,
    typer.Option(
        "--replay-from",
        metavar="RUN",
        help="Use the model replies recorded for this run; no model is asked, and one that is missing is an error.",
    ),
]
AT_A_TIME = Annotated[
    int,
    typer.Option(
        "--steps-at-a-time",
        min=0,
        max=100,
        help="With --goal: the model decides on N steps at once, from the results so far. 0 = it plans all.",
    ),
]
STEP_LIMIT = Annotated[
    int,
    typer.Option(
        "--max-steps", min=0, max=MAX_STEPS, help="With --steps-at-a-time: pause after so many steps; 0 = 50."
    ),
]
WORKSPACE = Annotated[
    str,
    typer.Option("--workspace", "-w", help="Directory to work on (made a workspace if needed), or `ws-…`."),
]
