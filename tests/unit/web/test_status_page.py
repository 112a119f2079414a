"""The status page as HTML: what it says, and that nobody's name becomes its code."""

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
    """The elements of a page, with their attributes, and the text of each table row."""

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


def test_the_page_begins_with_whether_everything_works() -> None:
    """Trouble is named and counted; without any, that is said too."""
    assert "1 of 2 workspaces cannot be read, 6 integrations need attention" in words(
        page(example())
    )
    assert "All 2 integrations are well" in words(
        page(Shown(workspace("w", facts("a", None, run()), facts("b", None, run()))))
    )
    one = Shown(workspace("w", facts("a", None, run()), facts("b", None, run(Status.ERROR))))
    assert "1 of 2 integrations needs attention" in words(page(one))


def test_before_any_scrape_it_shows_what_to_do() -> None:
    """A new user learns that Prometheus has to scrape, and how."""
    waiting = Shown(workspace("w", up=None, last_refresh=None, refresh_duration=None, exchanges=()))
    told = words(page(waiting))
    assert "Nothing is known yet" in told
    assert "add this job to Prometheus" in told
    assert 'targets: ["exporter:10234"]' in told
    assert "metrics_path" not in told
    other = page(waiting, web={"telemetry_path": "/cdi/metrics"})
    assert "metrics_path: /cdi/metrics" in words(other)
    assert {"href": "cdi/metrics"} in Tree(other).all("a")


def test_a_workspace_that_was_never_refreshed_explains_why() -> None:
    """Beside others that were, as with a scrape of its own that is not configured yet."""
    new = {"up": None, "last_refresh": None, "refresh_duration": None, "exchanges": ()}
    told = words(page(Shown(workspace("w", facts("a")), workspace("nord & süd", **new))))
    assert "Prometheus has not asked for this workspace yet." in told
    assert "A scrape of /metrics asks for every workspace" in told
    assert "one of /probe?workspace=nord%20%26%20s%C3%BCd for this one alone" in told


def test_an_unreadable_list_is_shown_as_a_separate_problem() -> None:
    """While the workspace itself can be read; else its problem says more."""
    problem = "the list of integrations cannot be read"
    assert problem in words(page(Shown(workspace("w", facts("a"), list_readable=False))))
    for readable in (True, None):
        shown = Shown(workspace("w", facts("a"), list_readable=readable))
        assert problem not in words(page(shown))
    failing = workspace("w", facts("a"), list_readable=False, up=False, error="timeout")
    assert problem not in words(page(Shown(failing)))


def test_a_name_cannot_reverse_the_text_around_it() -> None:
    """A name that would read as another shows where it would turn."""
    text = page(Shown(workspace("w", facts("a", "\u202egnp.exe\u2066", run()))))
    assert "<bdi>\ufffdgnp.exe\ufffd</bdi>" in text


def test_a_failing_workspace_shows_the_cause_and_what_to_do() -> None:
    """The problem, the advice, and how old the rest is."""
    told = words(page(example(), "?workspace=sandbox"))
    assert "Problem: 401: Braze does not know this API key" in told
    assert "What to do: Compare the key and the endpoint" in told
    assert "The last known data is shown below; it is 42 min old." in told
    assert "401, unknown API key: 4 requests to integrations, last 12 s ago" in told


def test_a_workspace_that_is_not_scraped_is_marked() -> None:
    """Old data under a green sign would be a lie."""
    quiet = workspace("w", facts("a"), last_refresh=NOW - HOUR, exchanges=())
    told = words(page(Shown(quiet)))
    assert "not scraped" in told
    assert "no scrape has asked for this workspace in 1 h" in told


def test_a_workspace_that_is_not_scraped_may_never_have_had_a_complete_refresh() -> None:
    """The first scrapes got through, and then no other came before all was read."""
    asked = workspace("w", facts("a"), last_refresh=None, exchanges=(exchange(ago=2 * HOUR),))
    told = words(page(Shown(asked)))
    assert "no scrape has asked for this workspace in 2 h" in told
    assert "not complete yet" in told


def test_a_workspace_without_integrations_is_marked() -> None:
    """An empty list is an answer too."""
    assert "Braze lists no integrations for this workspace" in words(page(Shown(workspace("w"))))


def test_a_row_shows_the_last_run_and_the_freshness() -> None:
    """Each column of the table says its fact."""
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
    told = words(page(Shown(workspace("w", one))))
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
        assert fact in told


def test_unknown_values_are_not_shown_as_zero() -> None:
    """Facts that the API did not give show as a dash, or in words."""
    bare = Facts("a", "bare")
    table = page(Shown(workspace("w", bare)))
    dash = r'" class="number"><span aria-hidden="true">.</span><span class="hidden">not'
    assert re.search('data-label="Rows' + dash, table)
    assert re.search('data-label="Failed' + dash, table)
    assert re.search(r'data-label="Next run">none known<', table)
    assert "no known runs" in table


def test_an_overdue_run_is_shown() -> None:
    """The next run's time may have passed."""
    due = facts("a", None, run(), next_scheduled=NOW - 300)
    assert "due 5 min ago" in words(page(Shown(workspace("w", due))))


def test_the_budget_is_that_of_the_last_answer() -> None:
    """With the time of its reset, and without a guess where nothing was said."""
    shown = workspace(
        "w",
        endpoints=(
            EndpointSnapshot("integrations", limit=50, remaining=3, reset=NOW + 20),
            EndpointSnapshot("job_sync_status", limit=90, remaining=2, reset=NOW - 5),
            EndpointSnapshot("none", limit=0, remaining=0, reset=NOW + 5),
            EndpointSnapshot("other"),
        ),
    )
    told = words(page(Shown(shown)))
    assert "integrations 3 of 50 left full again in 20 s" in told
    assert "job_sync_status full again 2 of 90 were left before" in told
    assert "none 0 of 0 left full again in 5 s" in told
    assert "other not known yet" in told


def test_sorting_and_filtering_work_with_links_only() -> None:
    """Without a script: the query decides, the head of the column and the count link to it."""
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


def test_nothing_found_offers_the_way_back() -> None:
    """A filter that fits nothing is no empty page."""
    told = words(page(example(), "?q=no+such+thing"))
    assert "No integration of this workspace matches. Show all 10" in told


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("?sort=colour", 400, "the parameter sort must be one of"),
        ("?status=%3Cscript%3E", 400, "the parameter status must be one of"),
        ("?workspace=other", 404, 'no such workspace; known: "production", "sandbox"'),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/status"])
def test_a_wrong_query_gets_one_line(path: str, query: str, status: int, message: str) -> None:
    """As plain text, which no browser takes for a page."""
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
    """Whatever the API calls an integration, and whatever is searched for."""
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
    """Times that no calendar has, and clocks that disagree, cost nobody the page."""
    source = Shown(workspace("w", strange))
    assert get(source, "/").status_code == 200
    assert get(source, "/api/v1/status").status_code == 200


def test_the_policy_allows_no_foreign_and_no_inline_code() -> None:
    """A strict Content-Security-Policy, and a page that keeps to it."""
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
    """Behind a proxy's path prefix nothing leads out of it; every file is there."""
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
    """A picture has a title or is hidden; each table and input has a name."""
    text = page(example())
    for picture in re.findall(r"<svg.*?</svg>", text):
        assert 'aria-hidden="true"' in picture or re.match(
            r'<svg class="spark" role="img"[^>]*><title>[^<]+</title>', picture
        )
    for table in Tree(text).all("table"):
        assert "aria-labelledby" in table or table.get("class") == "requests"
    ids = [each["id"] for _, each in Tree(text).elements if "id" in each]
    assert len(ids) == len(set(ids))


def test_the_problem_is_shown_below_the_summary() -> None:
    """In the picture each bad status has a mark of its own length, beside its colour."""
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


def test_a_thousand_integrations_take_well_under_a_second() -> None:
    """Processor time of the page, not the clock's; and the page stays small on the way."""
    source = Shown(many(1_000))
    page(source)
    times = []
    for _ in range(3):  # the least is what it takes where nothing else disturbs the processor
        began = time.process_time()
        response = get(source, "/", headers={"Accept-Encoding": "gzip"})
        times.append(time.process_time() - began)
    assert min(times) < 1.0
    assert response.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(response.content, 1)) < 400_000
    assert response.text.count('scope="row"') == 1_000


def test_of_more_than_a_thousand_the_most_urgent_are_shown() -> None:
    """The rest is found by searching, and that is said."""
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
    """GET and HEAD; anything else is refused."""
    assert get(example(), path, method=method).status_code == status


@pytest.mark.parametrize("path", ["/static/", "/static/../page.py", "/static/%2e%2e/page.py"])
def test_only_the_pages_own_files_are_served(path: str) -> None:
    """No folder, and nothing beside it."""
    assert get(example(), path).status_code == 404


def test_metrics_on_the_root_leave_no_page() -> None:
    """The telemetry path wins; the JSON stays."""
    options = {"web": {"telemetry_path": "/"}}
    assert get(example(), "/api/v1/status", **options).status_code == 200
    waiting = Shown()
    assert get(waiting, "/", **options).text == ""


def test_the_page_follows_a_workspace_through_its_states() -> None:
    """Ages are as of the request, whatever the facts' age."""
    snapshot = workspace("w", facts("a", None, run(ago=0))).snapshot()
    shown = workspace("w", replace(snapshot.integrations[0].facts))
    assert "1 h ago" in words(page(Shown(shown, now=NOW + HOUR)))
