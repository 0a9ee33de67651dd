"""Path templates: google/api/http.proto's grammar, form by form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.domain.table import Table
from interlock.gateway.domain.template import parse


def find(template: str, path: str) -> dict[str, str] | None:
    table: Table[str] = Table()
    table.add("GET", parse(template), template)
    found = table.find("GET", path)
    return None if found is None else found.variables


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/v1/runs", "/v1/runs", {}),
        ("/v1/runs/{run_id}", "/v1/runs/run-1", {"run_id": "run-1"}),
        ("/v1/runs/{run_id=*}", "/v1/runs/run-1", {"run_id": "run-1"}),
        ("/v1/runs/{run_id}:start", "/v1/runs/run-1:start", {"run_id": "run-1"}),
        ("/v1/a/{x.y}/{x.z}", "/v1/a/1/2", {"x.y": "1", "x.z": "2"}),
        ("/v1/{name=runs/*/steps/*}", "/v1/runs/a/steps/b", {"name": "runs/a/steps/b"}),
        ("/v1/{name=files/**}", "/v1/files/a/b/c", {"name": "files/a/b/c"}),
        ("/v1/{name=files/**}", "/v1/files", {"name": "files"}),
        ("/v1/{name=files/**}:read", "/v1/files/a/b:read", {"name": "files/a/b"}),
        ("/v1/*/x", "/v1/anything/x", {}),
        ("/v1/runs/{run_id}", "/v1/runs/a%2Fb%20c", {"run_id": "a/b c"}),
        ("/v1/{name=files/**}", "/v1/files/a%2Fb/c%20d", {"name": "files/a%2Fb/c d"}),
        ("/v1/runs/{run_id}", "/v1/runs/with:colon", {"run_id": "with:colon"}),
        ("/v1/runs/{run_id}", "/v1/r%75ns/x", {"run_id": "x"}),
    ],
)
def test_what_matches(template: str, path: str, variables: dict[str, str]) -> None:
    assert find(template, path) == variables


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/v1/runs", "/v1/runs/"),
        ("/v1/runs", "/v1/run"),
        ("/v1/runs", "v1/runsx"),
        ("/v1/runs/{run_id}", "/v1/runs/"),
        ("/v1/runs/{run_id}", "/v1/runs/a/b"),
        ("/v1/runs/{run_id}:start", "/v1/runs/run-1"),
        ("/v1/runs/{run_id}:start", "/v1/runs/run-1:stop"),
        ("/v1/runs/{run_id}:start", "/v1/runs/:start"),
        ("/v1/{name=runs/*/steps/*}", "/v1/runs/a/steps"),
        ("/v1/{name=files/**}", "/v1/filesx/a"),
        ("/v1/runs/{run_id}", "//v1/runs/a"),
    ],
)
def test_what_does_not(template: str, path: str) -> None:
    assert find(template, path) is None


@pytest.mark.parametrize(
    "text", ["", "v1/runs", "/v1/{run", "/v1/run}", "/v1/{a=**}/b", "/v1/{{a}}", "/v1/{9}", "/v1/{a=b{c}}"]
)
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse(text)


def test_a_verb_wins_over_a_value_with_a_colon() -> None:
    table: Table[str] = Table()
    for text in ("/v1/runs/{run_id}", "/v1/runs/{run_id}:start", "/v1/runs/latest"):
        table.add("GET", parse(text), text)
    assert [
        table.find("GET", path).target for path in ("/v1/runs/a:start", "/v1/runs/a:b", "/v1/runs/latest")
    ] == [  # type: ignore[union-attr]
        "/v1/runs/{run_id}:start",
        "/v1/runs/{run_id}",
        "/v1/runs/latest",
    ]


def test_two_routes_of_one_shape_are_refused() -> None:
    table: Table[int] = Table()
    table.add("GET", parse("/v1/runs/{run_id}"), 1)
    table.add("POST", parse("/v1/runs/{run_id}"), 2)
    with pytest.raises(ValueError, match="takes the same paths"):
        table.add("GET", parse("/v1/runs/{id}"), 3)
    assert table.methods("/v1/runs/x") == ["GET", "POST"]
    assert table.methods("/v1/other") == []


@given(st.text(max_size=60))
def test_no_path_breaks_it(path: str) -> None:
    find("/v1/{name=files/**}:read", "/" + path)
    find("/v1/runs/{run_id}:start", "/v1/runs/" + path)
