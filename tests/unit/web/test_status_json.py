"""`/api/v1/status`: the data of the status page as JSON, as described by its schema."""

import gzip
import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from cdi_exporter.model import FINISHED_STATUSES, Status
from cdi_exporter.problems import REASONS
from cdi_exporter.snapshot import Facts
from cdi_exporter.web.choice import ORDERS
from cdi_exporter.web.status import CONCERNS, FILTERS, WorkspaceState
from tests.shown import HOUR, NOW, Shown, example, facts, get, many, run, workspace

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "status.schema.json").read_text()
)


def status(source: Shown, query: str = "") -> dict[str, Any]:
    """The response, validated against the schema."""
    response = get(source, f"/api/v1/status{query}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "source",
    [
        Shown(),
        example(),
        Shown(workspace("w", Facts("a", "bare"), up=None, last_refresh=None, exchanges=())),
        Shown(many(20)),
    ],
    ids=["nothing", "example", "bare", "many"],
)
def test_the_answer_is_as_documented(source: Shown) -> None:
    """With any amount of data, no documented field is missing and no other field is present."""
    document = status(source)
    assert [each["name"] for each in document["workspaces"]] == [*source.workspaces]


def test_the_schema_names_what_the_code_names() -> None:
    """The schema lists exactly the states, concerns, statuses, reasons and filters of the code."""
    named = SCHEMA["$defs"]
    assert named["status"]["enum"] == [each.value for each in FINISHED_STATUSES]
    of_workspace, of_integration = named["workspace"]["properties"], named["integration"]
    assert of_workspace["state"]["enum"] == [*get_args(WorkspaceState)]
    assert [*of_workspace["counts"]["properties"]] == [*FILTERS]
    problem = of_workspace["problem"]["anyOf"][1]["properties"]
    assert problem["reason"]["enum"] == [*REASONS]
    concern = of_integration["properties"]["concerns"]["items"]["properties"]
    assert concern["kind"]["enum"] == [*CONCERNS]


def test_the_facts_of_an_integration() -> None:
    """Times are in seconds and rows are counts. Late and concerns are the same as on the page."""
    last = run(Status.PARTIAL, ago=120, took=75, rows=900, failed=100)
    late = {"last_delivery": NOW - 2 * HOUR, "stale_after": HOUR}
    one = facts("a", "orders", run(ago=3 * HOUR, rows=5), last, **late)
    (shown,) = status(Shown(workspace("w", one)))["workspaces"][0]["integrations"]
    assert shown["last_sync"] == {
        "status": "partial",
        "job_status": None,
        "start_timestamp_seconds": NOW - 195,
        "finish_timestamp_seconds": NOW - 120,
        "duration_seconds": 75,
        "rows_synced": 900,
        "rows_failed": 100,
        "failed_ratio": 0.1,
    }
    assert shown["last_success_timestamp_seconds"] == NOW - 3 * HOUR
    assert shown["last_success_age_seconds"] == 3 * HOUR
    assert shown["last_delivery_timestamp_seconds"] == NOW - 2 * HOUR
    assert shown["last_delivery_age_seconds"] == 2 * HOUR
    assert shown["late"] is True
    assert [each["kind"] for each in shown["concerns"]] == ["late", "partial"]
    assert [each["rows_synced"] for each in shown["recent_syncs"]] == [5, 900]


def test_a_problem_comes_with_its_advice() -> None:
    """A problem has the reason of the metric, a text and advice."""
    (sandbox,) = status(example(), "?workspace=sandbox")["workspaces"]
    assert sandbox["state"] == "failing"
    assert sandbox["problem"]["reason"] == "unauthorized"
    assert sandbox["problem"]["text"].startswith("401: Braze does not know this API key")
    assert sandbox["problem"]["advice"].startswith("Compare the key")
    assert [each["code"] for each in sandbox["recent_requests"]] == ["401"] * 4


@pytest.mark.parametrize("readable", [True, False, None])
def test_the_json_shows_whether_the_list_is_readable(readable: bool | None) -> None:
    """As in the metric, there is no value if the list is not needed."""
    (shown,) = status(Shown(workspace("w", list_readable=readable)))["workspaces"]
    assert shown["list_readable"] is readable
    assert shown["state"] == "ok"


def test_the_json_filters_and_sorts_like_the_page() -> None:
    """The same parameters give the same integrations in the same order. The counts cover all."""
    document = status(example(), "?workspace=production&status=attention&sort=rows&order=asc")
    (production,) = document["workspaces"]
    assert [each["name"] for each in production["integrations"]] == [
        "email-subscription",
        "purchases-redshift",
        "consent-flags",
        "loyalty-tiers",
        "orders-snowflake",
        "catalog-items",
    ]
    assert production["counts"]["all"] == 10


def test_a_name_that_is_not_valid_unicode_does_not_break_the_json() -> None:
    """JSON from the API can contain a lone surrogate."""
    shown = status(Shown(workspace("w", facts("a", "half \ud800"))))
    assert shown["workspaces"][0]["integrations"][0]["name"] == "half ?"


def test_the_json_is_compressed_for_clients_that_accept_gzip() -> None:
    """The Vary header is present in both responses."""
    plain = get(example(), "/api/v1/status", headers={"Accept-Encoding": "identity"})
    small = get(example(), "/api/v1/status", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert plain.headers["vary"] == small.headers["vary"] == "Accept-Encoding"
    assert plain.content == small.content
    assert len(gzip.compress(plain.content)) < len(plain.content) / 4


def test_the_guide_names_every_parameter_and_value() -> None:
    """`docs/status-page.md` lists exactly the parameters and values that the URL accepts."""
    guide = (Path(__file__).parents[3] / "docs" / "status-page.md").read_text("utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", guide, re.MULTILINE))
    assert [*table] == ["workspace", "q", "status", "sort", "order"]
    named = {name: re.findall(r"`(\w+)`", table[name]) for name in ("status", "sort", "order")}
    assert named["status"] == [name for name in FILTERS if name != "all"]
    assert named["sort"] == [*ORDERS]
    assert named["order"] == ["asc", "desc"]
