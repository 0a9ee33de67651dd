from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from interlock.executor.domain.digest import (
    StreamFacts,
    Surroundings,
    effect_digest,
    effect_document,
    request_digest,
    request_document,
)
from interlock.executor.domain.limits import DEFAULT_LIMITS, Limits
from interlock.executor.domain.model import EditFile, EffectKey, ReadFile, RunCommand, SecretUse, StepRequest

T, U = "sha256:" + "0" * 64, "sha256:" + "1" * 64
KEY = EffectKey("run-1", 2, 1)
DOC = (Path(__file__).parents[4] / "docs" / "effect-digest.md").read_text()
READ = StepRequest(KEY, "ws-1", ReadFile("a.txt", 1, 3), None)
EDIT = StepRequest(KEY, "ws-1", EditFile("b.txt", new_content=b"hello\n"), None)
RUN = StepRequest(KEY, "ws-1", RunCommand(command="make", env={"A": "1"}), DEFAULT_LIMITS)
AROUND = Surroundings(("/bin/sh", "-c", "make"), {"A": "1", "TZ": "UTC"}, {"backend": "bubblewrap"})


def by_hand(domain: str, document: str) -> str:
    return "sha256:" + hashlib.sha256(f"{domain}\n{document}".encode()).hexdigest()


def test_the_published_vectors() -> None:
    documents = re.findall(r"^   (\{.*\})$", DOC, re.MULTILINE)
    digests = re.findall(r"digest: `(sha256:[0-9a-f]{64})`", DOC)
    asked = request_digest(request_document(READ, T, Surroundings()))
    assert asked == digests[0] == by_hand("interlock.executor.request.v1", documents[0])
    asked = request_digest(request_document(EDIT, T, Surroundings()))
    effect = effect_document(asked, result_tree=U, exit_code=None, signal=0, streams={}, failure="")
    assert (asked, effect_digest(effect)) == (digests[1], digests[2])
    assert digests[2] == by_hand("interlock.executor.effect.v1", documents[1])


CHANGED_REQUESTS = [
    dataclasses.replace(RUN, key=EffectKey("run-2", 2, 1)),
    dataclasses.replace(RUN, key=EffectKey("run-1", 3, 1)),
    dataclasses.replace(RUN, key=EffectKey("run-1", 2, 2)),
    dataclasses.replace(RUN, workspace="ws-2"),
    dataclasses.replace(RUN, limits=dataclasses.replace(DEFAULT_LIMITS, wall_us=1)),
    *[
        dataclasses.replace(RUN, action=action)
        for action in (
            RunCommand(command="make ", env={"A": "1"}),
            RunCommand(argv=("make",), env={"A": "1"}),
            RunCommand(command="make", env={"A": "2"}),
            RunCommand(command="make", env={"A": "1"}, working_dir="d"),
            RunCommand(command="make", env={"A": "1"}, network=("h:1",)),
            RunCommand(command="make", env={"A": "1"}, allowed_exit_codes=(1,)),
            RunCommand(command="make", env={"A": "1"}, secrets=(SecretUse("a", "T"),)),
            ReadFile("make"),
            EditFile("make", new_content=b""),
            EditFile("make", patch=b""),
        )
    ],
]


@pytest.mark.parametrize("changed", CHANGED_REQUESTS)
def test_every_part_of_a_request_counts(changed: StepRequest) -> None:
    assert request_digest(request_document(changed, T, AROUND)) != request_digest(
        request_document(RUN, T, AROUND)
    )


@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_every_limit_counts(name: str) -> None:
    other = dataclasses.replace(RUN, limits=dataclasses.replace(DEFAULT_LIMITS, **{name: 7}))
    assert request_digest(request_document(other, T, AROUND)) != request_digest(
        request_document(RUN, T, AROUND)
    )


@pytest.mark.parametrize(
    "around",
    [
        dataclasses.replace(AROUND, argv=("/bin/bash", "-c", "make")),
        dataclasses.replace(AROUND, environment={"A": "1"}),
        dataclasses.replace(AROUND, sandbox={"backend": "none"}),
    ],
)
def test_the_surroundings_count(around: Surroundings) -> None:
    assert request_digest(request_document(RUN, T, around)) != request_digest(
        request_document(RUN, T, AROUND)
    )
    assert request_digest(request_document(RUN, U, AROUND)) != request_digest(
        request_document(RUN, T, AROUND)
    )


def test_every_part_of_an_effect_counts() -> None:
    facts = StreamFacts(T, 1)
    same = {"result_tree": U, "exit_code": 0, "signal": 0, "streams": {"stdout": facts}, "failure": ""}
    changes = [
        {"result_tree": T}, {"exit_code": 1}, {"exit_code": None}, {"signal": 9}, {"failure": "COMMAND_FAILED"},
        {"streams": {"stdout": StreamFacts(U, 1)}}, {"streams": {"stdout": StreamFacts(T, 2)}}, {"streams": {}},
        {"streams": {"stderr": facts}},
    ]  # fmt: skip
    digests = [effect_digest(effect_document(T, **{**same, **change})) for change in [{}, *changes]]  # type: ignore[arg-type]
    digests.append(effect_digest(effect_document(U, **same)))  # type: ignore[arg-type]
    assert len(set(digests)) == len(digests)


def test_names_that_are_not_utf8_have_a_digest() -> None:
    request = StepRequest(KEY, "ws-1", ReadFile(b"\xff".decode("utf-8", "surrogateescape")), None)
    assert request_document(request, T, Surroundings())["input"] == {
        "path": "\\xff",
        "start_line": 0,
        "end_line": 0,
    }
    assert request.fingerprint() != READ.fingerprint()


def test_secrets_count_by_name_and_place_in_any_order() -> None:
    one, two = SecretUse("deploy-token", "TOKEN"), SecretUse("key", "/run/secrets/key")
    facts = RunCommand(command="x", secrets=(one, two)).facts()
    assert facts["secrets"] == {"TOKEN": "deploy-token", "/run/secrets/key": "key"}
    assert facts == RunCommand(command="x", secrets=(two, one)).facts()
    assert "secrets" not in RunCommand(command="x").facts()


def test_order_and_repetition_of_exit_codes_do_not_count() -> None:
    one, two = (RunCommand(command="x", allowed_exit_codes=codes) for codes in ((2, 1, 2), (1, 2)))
    assert one.facts() == two.facts()
