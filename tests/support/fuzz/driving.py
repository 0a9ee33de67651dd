"""Runs of the fuzzers over an installation: each calls one rpc many times and checks every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.fuzz.calls import Method, Outcome, Tally, check
from tests.support.fuzz.laws import tame
from tests.support.fuzz.messages import (
    Known,
    mutated_bytes,
    mutated_message,
    nested,
    one_field_odd,
    random_message,
    varint,
)
from tests.support.fuzz.world import World

TRACES = [
    "", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "~" * 4000,
    "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
]  # fmt: skip


def many(examples: int) -> Any:
    """Settings: so many examples, the same each time unless the profile explores; what is found is printed whole."""
    return settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def lengths(short: int, long: int) -> Any:
    """A test with `examples`: few that are always the same, and under `torture` many that nobody has tried yet."""
    marks = [pytest.mark.torture, pytest.mark.timeout(1800)]
    return pytest.mark.parametrize("examples", [short, pytest.param(long, marks=marks)])


def hunt(examples: int, check: Callable[..., None], *strategies: Any) -> None:
    """Calls `check` with so many examples of the strategies; one that fails is shrunk and printed."""
    # Above some size nobody waits for it in a hurry: then it is a search, not a repetition.
    chosen = settings(
        max_examples=examples,
        derandomize=examples < 1000,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def one(values: Any) -> None:
        check(*values)

    chosen(given(st.tuples(*strategies))(one))()


def frozen(known: Known) -> Known:
    """The values as they are now: hypothesis wants the same choices all the time."""
    return {name: list(values) for name, values in known.items()}


class Driver:
    """Calls, checks and counts."""

    def __init__(self, world: World) -> None:
        self.world, self.tally, self.changed = world, Tally(), Tally()
        self._meant = False

    def send(self, method: Method, requests: list[bytes], shown: str, **how: Any) -> Outcome:
        """One call; its answer must be OK or a typed error."""
        outcome = self.world.caller.call(method, requests, **how)
        self.tally.add(method, outcome)
        if not self._meant:
            self.changed.add(method, outcome)
        try:
            check(method, outcome)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{shown}") from None
        return outcome

    def random(self, method: Method, examples: int) -> None:
        """Messages made from the descriptor."""
        known = frozen(self.world.known)

        @many(examples)
        @given(messages(method, random_message(method.request, known)))
        def one(requests: list[Any]) -> None:
            self._messages(method, requests)

        one()

    def mutated(self, method: Method, examples: int) -> None:
        """Messages that once worked, with a few fields changed; then as they were, which works as before."""
        seeds, known = self.world.seeds_of(method), frozen(self.world.known)

        @many(examples)
        @given(messages(method, mutated_message(seeds, known)))
        def one(requests: list[Any]) -> None:
            self._messages(method, requests)

        one()
        self._meant = True
        for seed in seeds:
            self._messages(method, [seed])
        self._meant = False

    def odd_fields(self, method: Method, values: list[str]) -> None:
        """Every text of a request that works, replaced by each value."""
        for seed in self.world.seeds[method.name][:2]:
            for request in one_field_odd(seed, values):
                self._messages(method, [request])

    def _messages(self, method: Method, requests: list[Any]) -> None:
        tamed = [tame(self.world, request) for request in requests]
        shown = "\n--\n".join(text_format.MessageToString(each)[:3000] for each in tamed)
        self.send(method, [each.SerializeToString() for each in tamed], shown)

    def wire(self, method: Method, examples: int) -> None:
        """Bytes that are no message, or not the one that was meant; and odd metadata."""
        raws = [seed.SerializeToString() for seed in self.world.seeds[method.name][:4]]
        raws += [nested(tag, depth) for tag in (1, 4) for depth in (90, 110, 5000)] + [varint(7 << 3 | 2) * 9]
        metadata = st.one_of(
            st.just([]), st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(lambda m: [m])
        )

        @many(examples)
        @given(messages(method, st.sampled_from(raws).flatmap(mutated_bytes)), metadata)
        def one(raw: list[bytes], extra: list[Any]) -> None:
            tamed = list(self._tamed(method, raw))
            self.send(method, tamed, f"{extra}\n{[each[:600].hex() for each in tamed]}", metadata=extra)

        one()

    def _tamed(self, method: Method, raw: list[bytes]) -> Iterator[bytes]:
        for each in raw:
            if method.name not in ("CreateWorkspace", "ForkRun"):
                yield each
                continue
            try:
                message = method.request.FromString(each)
            except DecodeError:
                yield each
            else:
                yield tame(self.world, message).SerializeToString()


NAMES = ["traceparent", "x-request-id", "x-interlock-subject", "user-agent", "x-odd", "authorization"]
VALUES = [*TRACES, " ", "00-0-0-0", "%0a"]


def messages(method: Method, one: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """As many as the rpc takes."""
    return st.lists(one, max_size=4) if method.takes_stream else one.map(lambda message: [message])
