from __future__ import annotations

import dataclasses

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.base import MAXIMUM_LIMITS, Limits, SandboxSpec
from interlock.executor.sandbox.environment import LEAST, check_spec, environment


def refused(spec: SandboxSpec) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        check_spec(spec)
    return caught.value


@pytest.mark.parametrize(
    "spec",
    [
        SandboxSpec(command="true"),
        SandboxSpec(argv=("true", "", "ü\n")),
        SandboxSpec(command="true", working_dir="a/./b//c", env={"_A1": "", "PATH": "/x"}),
        SandboxSpec(command="x" * (128 * 1024 - 1)),
    ],
)
def test_good_ones(spec: SandboxSpec) -> None:
    check_spec(spec)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (SandboxSpec(), "command"),
        (SandboxSpec(command="a", argv=("b",)), "command"),
        (SandboxSpec(argv=("",)), "argv[0]"),
        (SandboxSpec(argv=("a", "b\0c")), "argv[1]"),
        (SandboxSpec(command="x" * (128 * 1024)), "command"),
        (SandboxSpec(argv=("a", *["x" * 100_000] * 11)), "argv"),
        (SandboxSpec(argv=("\ud800",)), "argv[0]"),
        (SandboxSpec(command="a", env={"A=B": "c"}), "env"),
        (SandboxSpec(command="a", env={"1A": "c"}), "env"),
        (SandboxSpec(command="a", env={"": "c"}), "env"),
        (SandboxSpec(command="a", env={"A\n": "c"}), "env"),
        (SandboxSpec(command="a", env={"A": "b\0"}), "env.A"),
        (SandboxSpec(command="a", working_dir="a\0"), "working_dir"),
        (SandboxSpec(command="a", working_dir="x" * 5000), "working_dir"),
    ],
)
def test_bad_ones(spec: SandboxSpec, field: str) -> None:
    error = refused(spec)
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, field)
    assert error.fix


@pytest.mark.parametrize("path", ["/", "/tmp", "..", "a/../..", "../x", "a/.."])
def test_a_working_directory_outside(path: str) -> None:
    assert refused(SandboxSpec(command="a", working_dir=path)).reason is Reason.PATH_OUTSIDE_WORKSPACE


@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_limits_have_bounds(name: str) -> None:
    most = getattr(MAXIMUM_LIMITS, name)
    for value in (0, -1, LEAST.get(name, 1) - 1, most + 1):
        limits = dataclasses.replace(Limits(), **{name: value})
        assert refused(SandboxSpec(command="a", limits=limits)).field == f"limits.{name}"
    for value in (LEAST.get(name, 1), most):
        check_spec(SandboxSpec(command="a", limits=dataclasses.replace(Limits(), **{name: value})))


def test_what_a_step_declares_wins() -> None:
    whole = environment({"TZ": "CET", "MORE": "1"})
    assert (whole["TZ"], whole["MORE"], whole["LANG"]) == ("CET", "1", "C.UTF-8")
