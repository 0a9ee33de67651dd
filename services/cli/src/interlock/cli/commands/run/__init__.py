"""`interlock run`."""

from interlock.cli.commands import envelope
from interlock.cli.commands.run import executing, history, looking, steering
from interlock.cli.commands.run.group import app

app.add_typer(envelope.app, name="envelope")

__all__ = ["app", "executing", "history", "looking", "steering"]
