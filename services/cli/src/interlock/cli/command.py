"""Declares commands: adds the global options, runs coroutines, turns errors into messages and exit codes."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, get_type_hints

import typer

from interlock.cli.names import NamedCommand, name_value
from interlock.cli.settings import DATA_DIR, NO_INPUT, OUTPUT, SERVER, TOKEN, Output, Settings

Body = Callable[..., "Coroutine[Any, Any, int | None] | int | None"]

_CONTEXT = inspect.Parameter("typer_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
_COMMON: tuple[tuple[str, Any, Any], ...] = (
    ("output", OUTPUT, Output.TABLE),
    ("server", SERVER, None),
    ("token", TOKEN, ""),
    ("data_dir", DATA_DIR, ""),
    ("no_input", NO_INPUT, False),
)


def group(help_text: str) -> typer.Typer:
    """A group of commands, or a module's single one."""
    return typer.Typer(
        help=help_text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def command(app: typer.Typer, name: str | None = None, **options: Any) -> Callable[[Body], Body]:
    """Declare a command. Its function takes Settings first, then its own options, and returns the exit code.

    The function may be a coroutine function; None means 0.
    """

    def declare(body: Body) -> Body:
        app.command(name, cls=NamedCommand, no_args_is_help=False, **options)(_with_common_options(body))
        return body

    return declare


def _with_common_options(body: Body) -> Callable[..., None]:
    own = list(inspect.signature(body).parameters.values())[1:]
    hints = get_type_hints(body, include_extras=True)
    parameters = [each.replace(annotation=hints[each.name]) for each in own]
    for each in parameters:
        name_value(each.name, each.annotation)
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    for name, annotation, default in _COMMON:
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )

    @wraps(body)
    def run(typer_context: typer.Context, **values: Any) -> None:
        given = Settings(
            output=values.pop("output"),
            servers=tuple(values.pop("server") or ()),
            token=values.pop("token"),
            data_dir=values.pop("data_dir"),
            no_input=values.pop("no_input"),
        )
        settings = (typer_context.obj or Settings()).merged(given)
        raise typer.Exit(_run(body, settings, values))

    signature = inspect.Signature([_CONTEXT, *parameters])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    del run.__wrapped__
    return run


def _run(body: Body, settings: Settings, values: dict[str, Any]) -> int:
    from interlock.cli.errors import exit_code, print_error, print_fault
    from interlock.common.errors import InterlockError

    try:
        result = body(settings, **values)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return int(result or 0)  # type: ignore[arg-type]  # a coroutine was run above
    except InterlockError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return 130
    except (typer.Exit, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:
        if os.environ.get("INTERLOCK_DEBUG"):
            raise
        print_fault(error)
        return 1
