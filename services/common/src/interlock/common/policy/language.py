"""The language of rules: CEL (https://cel.dev) over the messages of rules.proto, checked when it is compiled.

There is no clock in it and no I/O, regular expressions are RE2 (linear time), and an evaluation ends after a fixed
number of iterations, so that what a rule says follows from its inputs alone, in bounded time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel
from google.protobuf import descriptor_pool

from interlock.common.policy import globs
from interlock.v1 import rules_pb2

VARIABLES: Final = {
    "step": "PolicyStep",
    "run": "PolicyRun",
    "caller": "PolicyCaller",
    "observed": "PolicyObserved",
}
_AT: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_PROBLEM_CHARS: Final = 300


class BadExpression(ValueError):
    """An expression that is not one; `line` and `column` count from 1 within it."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class CannotEvaluate(Exception):
    """An expression that has no value for these inputs."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. `observed`: it looks at what the step did."""

    expression: Any
    observed: bool


def _functions() -> list[Any]:
    """`PATHS.anyMatch([PATTERNS])`, `PATHS.allMatch([…])` and `PATH.matchesAny([…])`: see `globs`."""
    texts = cel.Type.List(cel.Type.STRING)
    return [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(
                    id=f"interlock_{name}",
                    return_type=cel.Type.BOOL,
                    parameters=[of, texts],
                    is_member=True,
                    impl=impl,
                )
            ],
        )
        for name, of, impl in (
            ("anyMatch", texts, globs.any_match),
            ("allMatch", texts, globs.all_match),
            ("matchesAny", cel.Type.STRING, globs.one_match),
        )
    ]


@lru_cache(maxsize=2)
def _environment(*, observed: bool) -> Any:
    known = {name: of for name, of in VARIABLES.items() if observed or name != "observed"}
    package = rules_pb2.DESCRIPTOR.package
    return cel.NewEnv(
        descriptor_pool=descriptor_pool.Default(),
        variables={name: cel.Type(f"{package}.{of}") for name, of in known.items()},
        functions=_functions(),
    )


def compile_expression(text: str) -> Program:
    """Checks and compiles an expression, which has to be true or false. Raises BadExpression."""
    try:
        return Program(_checked(_environment(observed=False), text), observed=False)
    except BadExpression:
        return Program(_checked(_environment(observed=True), text), observed=True)


def _checked(environment: Any, text: str) -> Any:
    try:
        expression = environment.compile(text)
    except RuntimeError as error:
        raise _bad(str(error)) from None
    kind = expression.return_type()
    if kind != cel.Type.BOOL:
        raise BadExpression(f"is {kind.name()}, where a rule has to be true or false", 1, 1)
    return expression


def _bad(said: str) -> BadExpression:
    """The first of the compiler's complaints."""
    found = _AT.search(said)
    if found is None:
        return BadExpression(said.partition("\n")[0][:_PROBLEM_CHARS])
    what = found[3].replace(" (in container '')", "")
    return BadExpression(
        what[:_PROBLEM_CHARS].removesuffix(" [INVALID_ARGUMENT]"), int(found[1]), int(found[2])
    )


def activation(inputs: rules_pb2.PolicyInputs) -> Any:
    """The values of the variables, to be given to any number of programs."""
    values = {"step": inputs.step, "run": inputs.run, "caller": inputs.caller}
    if inputs.HasField("observed"):
        values["observed"] = inputs.observed
    return _environment(observed=True).Activation(values)


def evaluate(program: Program, values: Any) -> bool:
    """Whether the expression is true. Raises CannotEvaluate, for example for an index that a list does not have."""
    try:
        found = program.expression.eval(values)
    except RuntimeError as error:
        raise CannotEvaluate(str(error).partition("\n")[0][:_PROBLEM_CHARS]) from None
    value = found.value()
    if isinstance(value, bool):
        return value
    raise CannotEvaluate(str(value)[:_PROBLEM_CHARS])
