"""The status page as HTML: its contents, and the escaping of names."""

import gzip
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.model import Status
from cdi_exporter.snapshot import EndpointSnapshot, Facts, IntegrationSnapshot
from cdi_exporter.web.sparkline import sparkline
from tests.shown import (
    HOUR,
    NOW,
    Shown,
    example,
    exchange,
    facts,
    get,
    many,
    run,
    workspace,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
    "\ud800 half a character",
    "a\x00b\x1b[2J",
    "&lt;already&gt;",
    "x" * 100_000,
]


class Tree(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(source: Shown, query: str = "", **options: Any) -> str:
    response = get(source, f"/{query}", **options)
    assert response.status_code == 200, response.text
    return response.text


def words(text: str) -> str:
    return re.sub(r"\s+", " ", Tree(text).text)


def test_the_page_starts_with_a_summary() -> None:
    """The summary counts workspaces and integrations with problems. Without any it says so."""
    assert "1 of 2 workspaces cannot be read, 6 integrations need attention" in words(
        page(example())
    )
    assert "All 2 integrations are well" in words(
        page(Shown(workspace("w", facts("a", None, run()), facts("b", None, run()))))
    )
    one = Shown(workspace("w", facts("a", None, run()), facts("b", None, run(Status.ERROR))))
    assert "1 of 2 integrations needs attention" in words(page(one))


def test_before_the_first_scrape_the_page_explains_how_to_configure_one() -> None:
    """A new user learns that Prometheus has to scrape the exporter, and how."""
    waiting = Shown(workspace("w", up=None, last_refresh=None, refresh_duration=None, exchanges=()))
    visible = words(page(waiting))
    assert "Nothing is known yet" in visible
    assert "add this job to Prometheus" in visible
    assert 'targets: ["exporter:10234"]' in visible
    assert "metrics_path" not in visible
    other = page(waiting, web={"telemetry_path": "/cdi/metrics"})
    assert "metrics_path: /cdi/metrics" in words(other)
    assert {"href": "cdi/metrics"} in Tree(other).all("a")


def test_a_workspace_that_was_never_refreshed_explains_why() -> None:
    """The other workspace was refreshed, so this one may lack a scrape job of its own."""
    new = {"up": None, "last_refresh": None, "refresh_duration": None, "exchanges": ()}
    visible = words(page(Shown(workspace("w", facts("a")), workspace("nord & süd", **new))))
    assert "Prometheus has not asked for this workspace yet." in visible
    assert "A scrape of /metrics asks for every workspace" in visible
    assert "one of /probe?workspace=nord%20%26%20s%C3%BCd for this one alone" in visible


def test_an_unreadable_list_is_shown_as_a_separate_problem() -> None:
    """It is shown only if the workspace itself can be read. Otherwise that problem matters more."""
    problem = "the list of integrations cannot be read"
    assert problem in words(page(Shown(workspace("w", facts("a"), list_readable=False))))
    for readable in (True, None):
        shown = Shown(workspace("w", facts("a"), list_readable=readable))
        assert problem not in words(page(shown))
    failing = workspace("w", facts("a"), list_readable=False, up=False, error="timeout")
    assert problem not in words(page(Shown(failing)))


def test_a_name_cannot_reverse_the_text_around_it() -> None:
    """Characters that reverse the text direction are replaced."""
    text = page(Shown(workspace("w", facts("a", "\u202egnp.exe\u2066", run()))))
    assert "<bdi>\ufffdgnp.exe\ufffd</bdi>" in text


def test_a_failing_workspace_shows_the_cause_and_what_to_do() -> None:
    """The page shows the problem, the advice, and the age of the last known data."""
    visible = words(page(example(), "?workspace=sandbox"))
    assert "Problem: 401: Braze does not know this API key" in visible
    assert "What to do: Compare the key and the endpoint" in visible
    assert "The last known data is shown below; it is 42 min old." in visible
    assert "401, unknown API key: 4 requests to integrations, last 12 s ago" in visible


def test_a_workspace_that_is_not_scraped_is_marked() -> None:
    """Old data must not look healthy."""
    quiet = workspace("w", facts("a"), last_refresh=NOW - HOUR, exchanges=())
    visible = words(page(Shown(quiet)))
    assert "not scraped" in visible
    assert "no scrape has asked for this workspace in 1 h" in visible


def test_a_workspace_that_is_not_scraped_may_never_have_had_a_complete_refresh() -> None:
    """The first scrapes started a refresh. No other scrape came before it was complete."""
    asked = workspace("w", facts("a"), last_refresh=None, exchanges=(exchange(ago=2 * HOUR),))
    visible = words(page(Shown(asked)))
    assert "no scrape has asked for this workspace in 2 h" in visible
    assert "not complete yet" in visible


def test_a_workspace_without_integrations_is_marked() -> None:
    """The page says that Braze lists no integrations."""
    assert "Braze lists no integrations for this workspace" in words(page(Shown(workspace("w"))))


def test_a_row_shows_the_last_run_and_the_freshness() -> None:
    """Each column shows its value."""
    one = facts(
        "a",
        "orders",
        run(ago=3 * HOUR, rows=5),
        run(Status.PARTIAL, ago=120, took=75, rows=900, failed=100),
        running=1,
        running_since=NOW - 50,
        next_scheduled=NOW + 300,
        stale_after=4 * HOUR,
    )
    visible = words(page(Shown(workspace("w", one))))
    for fact in (
        "orders snowflake · users_track",
        "100 rows of the last run failed and are not in Braze.",
        "◐ partial",
        "running, 50 s",
        "2 min ago",
        "10 %100 rows",
        "1 min 15 s",
        "in 5 min",
        "2 min agolate after 4 h",
        "Last 2 runs: 1 success, 1 partial. Rows synced: 5 to 900, newest 900.",
    ):
        assert fact in visible


def test_unknown_values_are_not_shown_as_zero() -> None:
    """Values that the API did not provide are shown as a dash or in words."""
    bare = Facts("a", "bare")
    table = page(Shown(workspace("w", bare)))
    dash = r'" class="number"><span aria-hidden="true">.</span><span class="hidden">not'
    assert re.search('data-label="Rows' + dash, table)
    assert re.search('data-label="Failed' + dash, table)
    assert re.search(r'data-label="Next run">none known<', table)
    assert "no known runs" in table


def test_an_overdue_run_is_shown() -> None:
    """The time of the next run has passed."""
    due = facts("a", None, run(), next_scheduled=NOW - 300)
    assert "due 5 min ago" in words(page(Shown(workspace("w", due))))


def test_the_rate_limit_is_that_of_the_last_answer() -> None:
    """The time of its reset is shown. Nothing is guessed if Braze reported no limit."""
    shown = workspace(
        "w",
        endpoints=(
            EndpointSnapshot("integrations", limit=50, remaining=3, reset=NOW + 20),
            EndpointSnapshot("job_sync_status", limit=90, remaining=2, reset=NOW - 5),
            EndpointSnapshot("none", limit=0, remaining=0, reset=NOW + 5),
            EndpointSnapshot("other"),
        ),
    )
    visible = words(page(Shown(shown)))
    assert "integrations 3 of 50 left full again in 20 s" in visible
    assert "job_sync_status full again 2 of 90 were left before" in visible
    assert "none 0 of 0 left full again in 5 s" in visible
    assert "other not known yet" in visible


def test_sorting_and_filtering_work_with_links_only() -> None:
    """Without a script, the column heads and counts are links that set the query."""
    source = Shown(
        workspace(
            "w",
            facts("a", "first", run(rows=1)),
            facts("b", "second", run(rows=2)),
            facts("c", "third", run(Status.ERROR, rows=0)),
        )
    )

    def rows(query: str) -> list[str]:
        return re.findall(r'scope="row"><bdi>(\w+)<', page(source, query))

    assert rows("") == ["third", "first", "second"]
    assert rows("?sort=rows") == ["second", "first", "third"]
    assert rows("?sort=rows&order=asc") == ["third", "first", "second"]
    assert rows("?q=FIR") == ["first"]
    assert rows("?status=error") == ["third"]
    tree = Tree(page(source, "?sort=rows"))
    assert {"href": "?sort=rows&order=asc#w1"} in tree.all("a")
    heads = [each.get("aria-sort") for each in tree.all("th") if each.get("scope") == "col"]
    assert heads.count("descending") == 1
    assert {"href": "?status=error&sort=rows#w1"} in tree.all("a")


def test_a_filter_without_results_links_to_all_integrations() -> None:
    visible = words(page(example(), "?q=no+such+thing"))
    assert "No integration of this workspace matches. Show all 10" in visible


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("?sort=colour", 400, "the parameter sort must be one of"),
        ("?status=%3Cscript%3E", 400, "the parameter status must be one of"),
        ("?workspace=other", 404, 'no such workspace; known: "production", "sandbox"'),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/status"])
def test_an_invalid_query_is_answered_with_one_line_of_text(
    path: str, query: str, status: int, message: str
) -> None:
    """The response is plain text, so a browser does not render it as HTML."""
    response = get(example(), path + query)
    assert response.status_code == status
    assert response.text.startswith(message)
    assert response.text.count("\n") == 1
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_text(name: str) -> None:
    """Names, IDs, types and problems from the API add no element and no attribute."""

    def elements(text: str) -> list[tuple[str, list[str]]]:
        source = Shown(
            workspace(
                "w",
                IntegrationSnapshot(
                    facts(text, text, run(), type=text, warehouse=text), NOW, False, text
                ),
                up=False,
                error="other",
                problem=text,
                exchanges=(exchange(code="404", integration_id=text),),
            )
        )
        body = page(source)
        assert len(body) < 400_000
        return [(tag, sorted(attributes)) for tag, attributes in Tree(body).elements]

    assert elements(name) == elements("harmless")


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.text())
def test_any_name_and_search_give_a_page(name: str, search: str) -> None:
    """The name and the search text can be any text."""
    source = Shown(workspace("w", facts(name or "id", name, run())))
    response = get(source, "/", params={"q": search})
    assert response.status_code == 200
    response.content.decode("utf-8")


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Facts,
        id=st.just("a"),
        name=st.just("a"),
        last=st.none() | st.builds(run, rows=st.none() | st.integers(0, 2**53)),
        last_success=st.none() | st.floats(-1e15, 1e15),
        history_start=st.none() | st.floats(-1e15, 1e15),
        running=st.none() | st.integers(0, 3),
        running_since=st.none() | st.floats(-1e15, 1e15),
        next_scheduled=st.none() | st.floats(-1e15, 1e15),
        stale_after=st.none() | st.floats(0, 1e15),
    )
)
def test_any_facts_give_a_page_and_json(strange: Facts) -> None:
    """Times outside the calendar and clocks that disagree must not break the page."""
    source = Shown(workspace("w", strange))
    assert get(source, "/").status_code == 200
    assert get(source, "/api/v1/status").status_code == 200


def test_the_policy_allows_no_foreign_and_no_inline_code() -> None:
    """The Content-Security-Policy is strict, and the page complies with it."""
    response = get(example(), "/")
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.headers["content-security-policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) <= {"'self'", "'none'"}
    assert response.headers["x-content-type-options"] == "nosniff"
    for tag, attributes in Tree(response.text).elements:
        assert tag not in ("style", "base", "iframe", "object", "embed")
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert [each["src"] for each in Tree(response.text).all("script")] != []
    assert not re.search(r"<script[^>]*>[^<]", response.text)


def test_every_link_is_relative_and_has_a_target() -> None:
    """The page works behind a proxy with a path prefix. Each linked file exists."""
    tree = Tree(page(example()))
    links = [each[key] for _, each in tree.elements for key in ("href", "src") if key in each]
    assert len(links) > 30
    for link in links:
        assert link is not None
        assert not re.match(r"[a-z]+:|/", link), link
        if link != "metrics" and not link.startswith(("#", "?")):
            assert get(example(), "/" + link).status_code == 200, link
    anchors = {each["id"] for _, each in tree.elements if "id" in each}
    assert {link.partition("#")[2] for link in links if link and "#" in link} <= anchors


def test_pictures_and_tables_have_descriptions() -> None:
    """An image has a title or is hidden. Each table has a label."""
    text = page(example())
    for picture in re.findall(r"<svg.*?</svg>", text):
        assert 'aria-hidden="true"' in picture or re.match(
            r'<svg class="spark" role="img"[^>]*><title>[^<]+</title>', picture
        )
    for table in Tree(text).all("table"):
        assert "aria-labelledby" in table or table.get("class") == "requests"
    ids = [each["id"] for _, each in Tree(text).elements if "id" in each]
    assert len(ids) == len(set(ids))


def test_each_bad_status_has_a_different_mark_in_the_sparkline() -> None:
    """The marks differ in length as well as in colour."""
    drawn = str(
        sparkline(
            [
                run(rows=100),
                run(Status.PARTIAL, rows=50),
                run(Status.ERROR, rows=0),
                run(Status.UNKNOWN, rows=None),
            ]
        )
    )
    assert '<path class="success" d="M102.5 19v-18"/>' in drawn
    assert '<path class="partial" d="M107.5 19v-9M107.5 20v4"/>' in drawn
    assert '<path class="error" d="M112.5 19v-1M112.5 20v7"/>' in drawn
    assert '<path class="unknown" d="M117.5 19v-1M117.5 20v2"/>' in drawn
    assert str(sparkline([])) == ""


def test_a_page_of_a_thousand_integrations_takes_under_a_second() -> None:
    """The test measures processor time. The compressed page must be small as well."""
    source = Shown(many(1_000))
    page(source)
    times = []
    for _ in range(3):  # the minimum is the least affected by other processes
        started = time.process_time()
        response = get(source, "/", headers={"Accept-Encoding": "gzip"})
        times.append(time.process_time() - started)
    assert min(times) < 1.0
    assert response.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(response.content, 1)) < 400_000
    assert response.text.count('scope="row"') == 1_000


def test_of_more_than_a_thousand_the_most_urgent_are_shown() -> None:
    """The page says that some are hidden. They can be found with the search."""
    crowd = many(1_001)
    text = page(Shown(crowd))
    assert text.count('scope="row"') == 1_000
    assert "1,000 of 1,001 integrations are shown." in words(text)
    quiet = crowd.snapshot().integrations[-1]
    assert page(Shown(crowd), f"?q={quiet.facts.id}").count('scope="row"') == 1


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405)]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/static/status.css"])
def test_the_status_page_accepts_only_get_and_head(path: str, method: str, status: int) -> None:
    assert get(example(), path, method=method).status_code == status


@pytest.mark.parametrize("path", ["/static/", "/static/../page.py", "/static/%2e%2e/page.py"])
def test_only_the_pages_own_files_are_served(path: str) -> None:
    """Folders and files of other directories are not served."""
    assert get(example(), path).status_code == 404


def test_metrics_on_the_root_path_replace_the_page() -> None:
    """The JSON is still served."""
    options = {"web": {"telemetry_path": "/"}}
    assert get(example(), "/api/v1/status", **options).status_code == 200
    waiting = Shown()
    assert get(waiting, "/", **options).text == ""


def test_ages_are_relative_to_the_time_of_the_request() -> None:
    snapshot = workspace("w", facts("a", None, run(ago=0))).snapshot()
    shown = workspace("w", replace(snapshot.integrations[0].facts))
    assert "1 h ago" in words(page(Shown(shown, now=NOW + HOUR)))
