"""What every command shares: where the services are, who asks, how to answer."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How data is written to standard output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


SERVER = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="[SERVICE=]ADDRESS",
        help="Address of the orchestrator, or of a named service; repeatable. Default: a running `interlock up`.",
    ),
]
TOKEN = Annotated[
    str,
    typer.Option(
        "--token", metavar="TOKEN", help="Bearer token. Default: INTERLOCK_TOKEN or the data directory's."
    ),
]
DATA_DIR = Annotated[
    str,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Data directory. Default: INTERLOCK_DATA_DIR, $XDG_DATA_HOME/interlock, ~/.local/share/interlock.",
    ),
]
NO_INPUT = Annotated[bool, typer.Option("--no-input", help="Never ask on the terminal.")]
OUTPUT = Annotated[
    Output, typer.Option("-o", "--output", metavar="[table|json|jsonl]", help="How to write data.")
]


@dataclass(frozen=True, slots=True)
class Settings:
    """The global options. Values given after the command win over those before it."""

    servers: tuple[str, ...] = ()
    token: str = ""
    data_dir: str = ""
    no_input: bool = False
    output: Output = Output.TABLE

    def merged(self, other: Settings) -> Settings:
        """These settings, with what `other` sets on top."""
        return replace(
            self,
            servers=self.servers + other.servers,
            token=other.token or self.token,
            data_dir=other.data_dir or self.data_dir,
            no_input=other.no_input or self.no_input,
            output=other.output,
        )

    def env(self) -> dict[str, str]:
        """The environment with these settings in it, for the helpers of `interlock.common.config`."""
        env = dict(os.environ)
        if self.data_dir:
            env["INTERLOCK_DATA_DIR"] = str(Path(self.data_dir).expanduser().absolute())
        if self.token:
            env["INTERLOCK_TOKEN"] = self.token
        return env

    @property
    def directory(self) -> Path:
        """The data directory."""
        from interlock.common.config import data_dir

        return data_dir(self.env())

    @property
    def may_ask(self) -> bool:
        """Whether a person can be asked: there is a terminal at both ends and nobody forbade it."""
        return not self.no_input and sys.stdin.isatty() and sys.stderr.isatty()
