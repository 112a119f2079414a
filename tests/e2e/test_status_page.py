"""The status page in a real browser, with the real exporter and a simulated workspace."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cdi_exporter.web.routes import WebOptions, create_app
from tests.e2e.browser import PHONE, WIDE, Theme, Window, chromium, window
from tests.e2e.browser_rows import expected, names, plain, rows, shown
from tests.e2e.browser_world import World, living
from tests.shown import DAY, HOUR, MINUTE, NOW, example, serving
from tests.simulator import Fault, FaultKind, Profile, ScriptedIntegration, many

TWO_VIEWS: list[tuple[int, Theme]] = [(WIDE, "light"), (PHONE, "dark")]
EVERY_VIEW: list[tuple[int, Theme]] = [*TWO_VIEWS, (WIDE, "dark"), (PHONE, "light")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def one_of_each() -> list[ScriptedIntegration]:
    """One integration for each state that a row can show. Each has run once an hour."""
    users = _hourly("users", took=90, next_run=NOW + 20 * MINUTE)
    orders = _hourly("orders", next_run=NOW + 50 * MINUTE)
    orders.run(NOW - 11 * MINUTE, NOW - 10 * MINUTE, "partial", rows_synced=900, rows_failed=100)
    email = _hourly("email", next_run=NOW - 5 * MINUTE)
    for ago in (16, 6):
        start = NOW - ago * MINUTE
        email.run(start, start + 60, "error", rows_synced=0, rows_failed=2_402)
    purchases = ScriptedIntegration("purchases", "purchases")
    for ago in (62, 2):
        start = NOW - ago * MINUTE
        purchases.run(start, start + 5, "config_error", rows_synced=None, rows_failed=None)
    consent = _hourly("consent")
    consent.run(NOW - 5 * MINUTE, NOW - 4 * MINUTE, "mostly_done", rows_synced=7)
    catalog = _hourly("catalog", ago=3 * HOUR, next_run=NOW - HOUR)
    catalog.run(NOW - 2 * HOUR)
    tokens = _hourly("tokens")
    tokens.run(NOW - 50)
    return [users, orders, email, purchases, consent, catalog, tokens, _never()]


def _hourly(
    name: str, *, took: float = 60, ago: float = 40 * MINUTE, next_run: float | None = None
) -> ScriptedIntegration:
    made = ScriptedIntegration(name, name, next_run=next_run)
    for number in range(5):
        start = NOW - number * HOUR - ago
        made.run(start, start + took, rows_synced=1_000 + 10 * number)
    return made


def _never() -> ScriptedIntegration:
    return ScriptedIntegration("fresh", "fresh", next_run=NOW + 3 * HOUR)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A workspace with one integration of each kind, fully read."""
    with living(*one_of_each()) as made:
        made.scrape()
        yield made


Open = Callable[..., AbstractContextManager[Window]]


@pytest.fixture
def at(browser: Browser) -> Open:
    """A function that opens a window on an exporter's URL."""
    return lambda home, **options: window(browser, home, **options)


def test_each_row_shows_what_happened(world: World, at: Open) -> None:
    """A row shows the status as glyph and text, rows, failures, ages and the next run."""
    with at(world.url) as one:
        page = one.go()
        by_name = {row.name: row for row in rows(page)}
    assert {name: row.cells["Status"] for name, row in by_name.items()} == {
        "users": "✔ success",
        "orders": "◐ partial",
        "email": "✖ error",
        "purchases": "⚙ config error",
        "consent": "? unknown",
        "catalog": "✔ success ! late ▶ stuck, 2 h",
        "tokens": "✔ success ▶ running, 50 s",
        "fresh": "– no known runs",  # noqa: RUF001 -- the dash that the page shows
    }
    orders, email = by_name["orders"], by_name["email"]
    assert orders.cells["Last run"] == "10 min ago"
    assert orders.cells["Rows"] == "900"
    assert orders.cells["Failed"] == "10 % 100 rows"
    assert orders.cells["Duration"] == "1 min"
    assert orders.cells["Next run"] == "in 50 min"
    assert orders.cells["Last delivery"].startswith("10 min ago late after ")
    assert orders.why == ["100 rows of the last run failed and are not in Braze."]
    assert orders.drawn.startswith("Last 6 runs: 5 success, 1 partial. Rows synced: 900 to 1,040")
    assert by_name["consent"].why == [
        "The last run has the status mostly_done, which this version does not know."
    ]
    assert email.cells["Failed"] == "100 % 2,402 rows"
    assert email.cells["Next run"] == "due 5 min ago"
    assert email.why == ["The last 2 runs failed."]
    assert by_name["tokens"].cells["Next run"] == "none known"
    assert by_name["purchases"].cells["Last delivery"].startswith("none known")
    assert (
        by_name["catalog"].why[-1] == "A run has been in progress for 2 h; it usually takes 1 min."
    )


def test_the_header_of_the_page_matches_the_rows(world: World, at: Open) -> None:
    """The verdict, the title and the counts match the rows."""
    with at(world.url) as one:
        page = one.go()
        assert plain(page.inner_text("#verdict")) == "! 5 of 8 integrations need attention"
        assert page.title() == "5 of 8 need attention · cdi-exporter"
        assert [plain(each) for each in page.locator(".counts a").all_inner_texts()] == [
            "8 all",
            "! 5 need attention",
            "! 1 late",
            "! 1 stuck",
            "▶ 2 running",
            "✔ 3 success",
            "◐ 1 partial",
            "✖ 1 error",
            "⚙ 1 config error",
            "? 1 unknown",
            "1 no known runs",
        ]
        assert names(page)[:5] == ["catalog", "purchases", "email", "consent", "orders"]


def test_the_page_of_a_thousand_integrations_is_right_and_sends_no_request(at: Open) -> None:
    """Each row matches the simulator.

    Neither the page nor the JSON API sends a request to Braze.
    """
    with living(*many(1_000, seed=3, profiles=list(Profile))) as crowd:
        crowd.scrape()
        before = crowd.requests()
        with at(crowd.url) as one:
            page = one.go()
            shown_rows = rows(page)
            page.reload()
            one.go("/?sort=rows")
            page.request.get(f"{crowd.url}/api/v1/status")
            assert not one.scrolls_sideways()
            assert _table_fits(page)
        assert crowd.requests() == before
        truth = crowd.simulator.truth
        wanted = {
            each.name: expected(truth, each.id, NOW, each.next_scheduled_run)
            for each in truth.integrations_at(NOW)
        }
    assert len(wanted) == 1_000
    assert {row.name: shown(row) for row in shown_rows} == wanted


@pytest.mark.parametrize("width", [320, PHONE, 600, 1_000, 1_217, WIDE, 1_600])
def test_no_width_makes_the_page_scroll_sideways(world: World, at: Open, width: int) -> None:
    """Widths range from a phone, or a window zoomed to 400 %, to a wide screen."""
    with at(world.url, width=width) as one:
        page = one.go()
        _open_details(page)
        assert not one.scrolls_sideways()
        assert _table_fits(page)


def _table_fits(page: Page) -> bool:
    """Whether all columns are visible. A table that is too wide scrolls instead of the page."""
    around = page.locator(".integrations").locator("xpath=..")
    fits: bool = around.evaluate("each => each.scrollWidth <= each.clientWidth")
    return fits


def test_a_click_on_a_column_header_sorts(world: World, at: Open) -> None:
    """The first click sorts in descending order, the second in ascending order.

    Unknown values are last, and the header shows the order.
    """
    with at(world.url) as one:
        page = one.go()
        head = page.get_by_role("columnheader", name="Rows")
        head.get_by_role("link").click()
        expect(head).to_have_attribute("aria-sort", "descending")
        assert [row.cells["Rows"] for row in rows(page)][-2:] == ["– not known", "– not known"]  # noqa: RUF001 -- the dash of the page
        down = _numbers(page)
        head.get_by_role("link").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        assert page.url.endswith("/?sort=rows&order=asc")
        assert down == sorted(down, reverse=True)
        assert _numbers(page) == sorted(down)
        expect(page.locator("#said")).to_have_text("8 integrations shown")


def _numbers(page: Page) -> list[int]:
    texts = [row.cells["Rows"].replace(",", "") for row in rows(page)]
    return [int(each) for each in texts if each.isdigit()]


def test_the_keyboard_sorts_and_keeps_its_place(world: World, at: Open) -> None:
    """Enter on a header sorts, and the focus stays on it."""
    with at(world.url) as one:
        page = one.go()
        link = page.get_by_role("columnheader", name="Integration").get_by_role("link")
        link.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("columnheader", name="Integration")).to_have_attribute(
            "aria-sort", "ascending"
        )
        assert names(page) == sorted(names(page))
        assert page.evaluate("document.activeElement.textContent").startswith("Integration")
        page.keyboard.press("Enter")
        expect(page.get_by_role("columnheader", name="Integration")).to_have_attribute(
            "aria-sort", "descending"
        )


def test_the_status_page_works_without_javascript(world: World, at: Open) -> None:
    """The URL sorts, a link sorts, the form filters, and nothing is missing."""
    with at(world.url, java_script_enabled=False) as one:
        page = one.go("/?sort=name&order=desc")
        assert _without_script(page) == sorted((each.name for each in one_of_each()), reverse=True)
        _follow(page.get_by_role("columnheader", name="Failed").get_by_role("link"))
        assert _without_script(page)[:2] == ["email", "orders"]
        page.get_by_label("Name or ID").fill("ORD")
        _follow(page.get_by_role("button", name="Apply"))
        assert _without_script(page) == ["orders"]
        assert "q=ORD" in page.url
        _follow(page.get_by_role("link", name="Reset"))
        page.get_by_role("combobox", name="Show").select_option("running")
        _follow(page.get_by_role("button", name="Apply"))
        assert sorted(_without_script(page)) == ["catalog", "tokens"]
    with at(world.url, java_script_enabled=False, width=PHONE) as one:
        page = one.go()
        page.get_by_role("combobox", name="Sort by").select_option("name")
        _follow(page.get_by_role("button", name="Apply"))
        assert _without_script(page)[:2] == ["catalog", "consent"]


def _follow(control: Locator) -> None:
    """Click a control that loads another page, and wait for that page."""
    with control.page.expect_navigation():
        control.click()


def _without_script(page: Page) -> list[str]:
    return re.findall(r'scope="row"><bdi>(\w+)<', page.content())


def test_filters_apply_immediately(world: World, at: Open) -> None:
    """Typing and selecting update the list and the counts. A link removes the filters."""
    with at(world.url) as one:
        page = one.go()
        page.get_by_label("Name or ID").fill("ORD")
        expect(_names(page)).to_have_text(["orders"])
        assert page.url.endswith("/?q=ORD")
        expect(page.locator("#said")).to_have_text("1 integration shown")
        page.get_by_label("Name or ID").fill("no such thing")
        expect(page.get_by_text("No integration of this workspace matches.")).to_be_visible()
        page.get_by_role("link", name="Show all 8").click()
        expect(_names(page)).to_have_count(8)
        page.get_by_role("combobox", name="Show").select_option("error")
        expect(_names(page)).to_have_text(["email"])
        page.locator(".counts").get_by_role("link", name="late").click()
        expect(_names(page)).to_have_text(["catalog"])
        expect(page.get_by_role("combobox", name="Show")).to_have_value("late")
        page.get_by_role("link", name="Reset").click()
        expect(_names(page)).to_have_count(8)
        assert page.url == f"{world.url}/"


def _names(page: Page) -> Locator:
    return page.locator(".integrations tbody th > bdi")


def test_the_status_page_updates_itself(at: Open) -> None:
    """When enabled, the page updates every 10 s and keeps opened details open."""
    users = _hourly("users")
    with living(users) as moving, at(moving.url) as one:
        moving.scrape()
        one.page.clock.install()
        page = one.go()
        _open_details(page)
        page.get_by_role("button", name="Follow").click()
        expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")
        users.run(NOW + 10, NOW + 20, "partial", rows_synced=3, rows_failed=1)
        moving.now += 30
        moving.scrape()
        page.clock.run_for(10_000)
        expect(page.locator(".integrations tbody .status").first).to_have_text("◐ partial")
        expect(page.locator("#verdict")).to_contain_text("1 of 1 integration needs attention")
        assert page.locator("details:not([open])").count() == 0


def test_the_status_page_shows_that_the_exporter_is_down(world: World, at: Open) -> None:
    """The page then says that its data is old. The next response removes that message."""
    with at(world.url) as one:
        page = one.go()
        page.route("**/?*", lambda route: route.abort())
        page.get_by_role("combobox", name="Show").select_option("late")
        expect(page.locator("#said")).to_have_text(
            "The exporter does not answer; what stands here is old."
        )
        page.unroute("**/?*")
        one.wait_for_complaints(1)
        assert all("Failed to load resource" in each for each in one.complaints)
        one.complaints.clear()
        page.get_by_role("combobox", name="Show").select_option("error")
        expect(page.locator("#said")).to_have_text("1 integration shown")


def test_the_browser_enforces_the_content_security_policy(world: World, at: Open) -> None:
    """Inline code and content from other hosts are refused, and these tests would notice it."""
    with at(world.url) as one:
        page = one.go()
        page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.taken = true";
              const image = new Image();
              image.src = "http://elsewhere.example/x.png";
              document.body.append(script, image);
              document.body.setAttribute("onclick", "window.taken = true");
              document.body.click();
            }"""
        )
        page.wait_for_function("window.violations.length >= 3")
        assert page.evaluate("window.taken") is None
        one.wait_for_complaints(3)
        one.complaints.clear()
        one.requested.clear()
        page.evaluate("window.violations.length = 0")


HOSTILE = [
    "<script>window.taken = true; alert(1)</script>",
    '"><img src=x onerror="window.taken = true; alert(1)">',
    "</title></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\u202egnp.exe overridden",
    "x" * 5_000,
    "many words " * 500,
    "first line\nsecond line\r\n\r\n\r\n\tthird line",
    "Z\u0351\u036b\u0343" * 60,
]


@pytest.fixture(scope="module")
def hostile() -> Iterator[World]:
    """A workspace whose names, types and warehouses contain code and control characters."""
    made = []
    for place, name in enumerate(HOSTILE):
        one = ScriptedIntegration(f"id-{place}", name, type="users_track", warehouse=name)
        one.run(NOW - HOUR, NOW - HOUR + 60, "partial", rows_synced=5, rows_failed=5)
        made.append(one)
    with living(*made) as world:
        world.scrape()
        yield world


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_a_hostile_name_is_shown_as_text(hostile: World, at: Open, width: int) -> None:
    """It is shown as shortened text: no code runs, no element is added, no row becomes tall."""
    with at(hostile.url, width=width) as one:
        page = one.go("/?sort=name")
        _open_details(page)
        page.get_by_role("combobox", name="Show").select_option("partial")
        expect(page.locator("#said")).to_have_text(f"{len(HOSTILE)} integrations shown")
        assert page.evaluate("window.taken") is None
        assert page.locator("img, iframe, main script, svg svg").count() == 0
        shown_names = names(page)
        assert set(shown_names) == {_as_text(each) for each in HOSTILE}
        assert not one.scrolls_sideways()
        tallest = max(
            each["height"]
            for row in page.locator(".integrations tbody tr").all()
            if (each := row.bounding_box())
        )
        assert tallest < 700
        for cell in page.locator(".integrations tbody td").all():
            box = cell.bounding_box()
            assert box is None or box["x"] + box["width"] <= width


def _as_text(name: str) -> str:
    """The shortened name, with HTML's line breaks and without direction overrides."""
    short = name if len(name) <= 200 else name[:199] + "…"
    return short.replace("\r\n", "\n").replace("\u202e", "\ufffd")


def test_a_direction_override_ends_with_its_text(hostile: World, at: Open) -> None:
    """Text after a text of right-to-left letters still reads from left to right."""
    with at(hostile.url) as one:
        page = one.go("/?q=gnp.exe")
        note = page.locator(".integrations tbody small").first
        first, last = note.evaluate(
            """(each) => {
              const texts = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
              let text;
              while (!texts.nextNode().data.includes("users_track"));
              text = texts.currentNode;
              const from = text.data.indexOf("users_track"), range = document.createRange();
              return [from, from + 10].map((place) => {
                range.setStart(text, place);
                range.setEnd(text, place + 1);
                return range.getBoundingClientRect().x;
              });
            }"""
        )
        assert first < last


@pytest.mark.parametrize(("width", "theme"), EVERY_VIEW)
def test_axe_finds_no_barrier(world: World, at: Open, width: int, theme: Theme) -> None:
    """The rules are WCAG 2.2 A and AA and axe-core's best practices."""
    with at(world.url, width=width, theme=theme) as one:
        page = one.go()
        _open_details(page)
        assert one.barriers() == []


def _down(world: World) -> None:
    world.simulator.faults.append(Fault(NOW - DAY, NOW + DAY, FaultKind.OUTAGE))


def _refused(world: World) -> None:
    world.simulator.key = "another"


def _forbidden(world: World) -> None:
    world.simulator.permissions.discard("cdi.integration_list")


def _no_history(world: World) -> None:
    world.simulator.permissions.discard("cdi.integration_job_status")


def _empty(world: World) -> None:
    for each in world.simulator.truth.integrations_at(NOW):
        world.simulator.remove(each.id)


TROUBLE: dict[Callable[[World], None], tuple[str, str]] = {
    _down: ("The workspace cannot be read", "Check the spelling of the endpoint"),
    _refused: ("The workspace cannot be read", "Problem: 401: Braze does not know this API key"),
    _forbidden: ("The workspace cannot be read", "lacks the permission cdi.integration_list"),
    _no_history: (
        "The workspace cannot be read",
        "lacks the permission cdi.integration_job_status",
    ),
    _empty: ("No integration is known", "Braze lists no integrations for this workspace"),
}


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda each: each.__name__.strip("_"))
def test_problems_are_shown_accessibly(at: Open, trouble: Callable[[World], None]) -> None:
    """Even before the first success, both widths show what is wrong and what to do."""
    verdict, words = TROUBLE[trouble]
    with living(_hourly("users"), _never()) as world:
        trouble(world)
        world.scrape()
        for width, theme in TWO_VIEWS:
            with at(world.url, width=width, theme=theme) as one:
                page = one.go()
                assert verdict in plain(page.inner_text("#verdict"))
                assert words in plain(page.inner_text("main"))
                assert not one.scrolls_sideways()
                assert one.barriers() == []


def test_the_status_page_explains_that_no_scrape_came_yet(at: Open) -> None:
    """The page tells a new user what to do, and axe finds no barrier."""
    with living(_hourly("users")) as world, at(world.url) as one:
        page = one.go()
        assert "Nothing is known yet" in page.inner_text("#verdict")
        assert world.url.removeprefix("http://") in page.inner_text("pre")
        assert one.barriers() == []
        assert world.requests() == 0


def test_two_workspaces_are_shown_separately(at: Open) -> None:
    """Each has its own heading, and the form selects one of them. Axe finds no barrier."""
    with serving(create_app(example(), WebOptions())) as url, at(url) as one:
        page = one.go()
        expect(page.get_by_role("heading", level=2)).to_have_text(["production", "sandbox"])
        _open_details(page)
        assert one.barriers() == []
        page.get_by_role("combobox", name="Workspace").select_option("sandbox")
        expect(page.get_by_role("heading", level=2)).to_have_text(["sandbox"])
        assert page.url.endswith("/?workspace=sandbox")


FOCUSABLE = "a[href], button, input, select, summary, [tabindex='0']"
_FOCUSED = """
() => {
  const each = document.activeElement, style = getComputedStyle(each);
  if (each === document.body) return null;
  const box = each.getBoundingClientRect();
  const x = Math.min(Math.max(box.x + box.width / 2, 0), innerWidth - 1);
  const y = Math.min(Math.max(box.y + box.height / 2, 0), innerHeight - 1);
  const top = document.elementFromPoint(x, y);
  return {
    place: [...document.querySelectorAll("*")].indexOf(each),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: each.contains(top) || (top?.contains(each) ?? false),
    inside: box.bottom > 0 && box.y < innerHeight && box.right > 0 && box.x < innerWidth,
  };
}
"""


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    world: World, at: Open, width: int
) -> None:
    """The focus follows the order of the page, and each control is visible with a focus ring."""
    with at(world.url, width=width) as one:
        page = one.go()
        _open_details(page)
        reached = []
        for _ in range(100):
            page.keyboard.press("Tab")
            focused = page.evaluate(_FOCUSED)
            if focused is None:
                break
            assert focused["ring"], page.evaluate("document.activeElement.outerHTML")
            assert focused["seen"], page.evaluate("document.activeElement.outerHTML")
            assert focused["inside"], page.evaluate("document.activeElement.outerHTML")
            reached.append(focused["place"])
        wanted = page.evaluate(
            """(focusable) => {
              const all = [...document.querySelectorAll("*")];
              return [...document.querySelectorAll(focusable)]
                .filter((each) => each.checkVisibility()).map((each) => all.indexOf(each));
            }""",
            FOCUSABLE,
        )
        assert reached == wanted
        assert len(reached) > 18


def test_the_keyboard_can_skip_to_the_status(world: World, at: Open) -> None:
    """The first Tab stop is a link that skips the controls."""
    with at(world.url) as one:
        page = one.go()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the status"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "status"


def _open_details(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
