from __future__ import annotations

from typing import Any

import pytest

from interlock.planner.domain.recorded import first_difference, nearest


def request(content: str = "hello", **fields: Any) -> dict[str, Any]:
    return {
        "purpose": "plan",
        "prompt_version": "plan/v1",
        "model": "m",
        "messages": [{"role": "user", "content": content}],
        "parameters": {"max_tokens": 10, "schema": None},
        **fields,
    }


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (request("hellO"), "messages[0].content (character 5)"),
        (request("hello there"), "messages[0].content (character 6)"),
        (request(model="n"), "model (character 1)"),
        (request(messages=[]), "messages[0]"),
        (request(parameters={"max_tokens": 11, "schema": None}), "parameters.max_tokens"),
        (request(parameters={"max_tokens": 10, "schema": {"type": "object"}}), "parameters.schema"),
        (request(parameters={"max_tokens": True, "schema": None}), "parameters.max_tokens"),
        (request(extra=1), "extra"),
    ],
)
def test_the_first_difference_is_named(asked: dict[str, Any], path: str) -> None:
    found = first_difference(request(), asked)
    assert found is not None
    assert found.path == path


def test_equal_requests_do_not_differ() -> None:
    assert first_difference(request(), request()) is None


def test_what_is_shown_is_short_and_around_the_place() -> None:
    found = first_difference(request("a" * 5000 + "X" + "b" * 5000), request("a" * 5000 + "Y" + "b" * 5000))
    assert found is not None
    assert len(found.recorded) <= 80
    assert "X" in found.recorded
    assert "Y" in found.asked


def test_the_nearest_has_the_same_purpose_and_the_longest_common_beginning() -> None:
    records = [request("hello world", purpose="draft"), request("help"), request("hello you"), request("x")]
    assert nearest(records, request("hello world")) == 2
    assert nearest(records[3:], request("hello")) == 0
    assert nearest([], request()) is None
