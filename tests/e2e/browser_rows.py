"""The rows of the status page as a person reads them, and as they should be."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from playwright.sync_api import Page

from cdi_exporter.model import DELIVERIES, FINISHED_STATUSES, Run
from tests.simulator import Truth

GLYPHS = {"success": "✔", "partial": "◐", "error": "✖", "config_error": "⚙", "unknown": "?"}
_READ = """
() => [...document.querySelectorAll(".integrations tbody tr")].map((row) => {
  const cells = {}, times = {};
  for (const cell of row.querySelectorAll("td")) {
    cells[cell.dataset.label] = cell.innerText;
    times[cell.dataset.label] = cell.querySelector("time")?.dateTime ?? null;
  }
  return {
    name: row.querySelector("th bdi").textContent, cells, times,
    why: [...row.querySelectorAll(".why")].map((each) => each.innerText),
    drawn: row.querySelector(".spark title")?.textContent ?? "",
  };
})
"""


@dataclass(frozen=True)
class Row:
    """One integration: the texts of its cells, and the timestamps behind them."""

    name: str
    cells: Mapping[str, str]
    times: Mapping[str, str | None]
    why: list[str]
    drawn: str
    """The text of the picture."""


def plain(text: str) -> str:
    """The text, with each run of whitespace reduced to one space."""
    return re.sub(r"\s+", " ", text).strip()


def rows(page: Page) -> list[Row]:
    """The rows, from top to bottom."""
    return [
        Row(
            each["name"],
            {label: plain(text) for label, text in each["cells"].items()},
            each["times"],
            [plain(text) for text in each["why"]],
            each["drawn"],
        )
        for each in page.evaluate(_READ)
    ]


def names(page: Page) -> list[str]:
    """The names, from top to bottom."""
    return [each.name for each in rows(page)]


@dataclass(frozen=True)
class Expected:
    """The texts and timestamps that an integration's row must show."""

    status: str
    rows: str
    failed: str
    last: str | None
    delivery: str | None
    next: str | None


FIRST_PAGE = 10
"""Number of runs in the first page of a history. The exporter does not read older runs."""

NOTHING = "–"  # noqa: RUF001 -- the dash that the page shows where nothing is known


def expected(truth: Truth, identifier: str, now: float, due: float | None) -> Expected:
    """What the page must show for one integration at `now`."""
    newest = truth.run_states_at(identifier, now)[:FIRST_PAGE]
    runs = [run for run in newest if run.status in FINISHED_STATUSES]
    if not runs:
        return Expected("– no known runs", NOTHING, NOTHING, None, None, iso(due))  # noqa: RUF001 -- the same dash
    last = max(runs, key=_finish)
    deliveries = [run for run in runs if run.status in DELIVERIES]
    return Expected(
        f"{GLYPHS[last.status.value]} {last.status.value.replace('_', ' ')}",
        NOTHING if last.rows_synced is None else f"{last.rows_synced:,}",
        _failed(last),
        iso(last.finish),
        iso(max(map(_finish, deliveries), default=None)),
        iso(due),
    )


def shown(row: Row) -> Expected:
    """The same fields as the page shows them, except a run in progress and lateness."""
    status = row.cells["Status"].partition(" !")[0].partition(" ▶")[0]
    return Expected(
        status.removesuffix(" not known"),
        row.cells["Rows"].removesuffix(" not known"),
        row.cells["Failed"].partition(" % ")[0].removesuffix(" %").removesuffix(" not known"),
        row.times["Last run"],
        row.times["Last delivery"],
        row.times["Next run"],
    )


def _failed(run: Run) -> str:
    rows = (run.rows_synced or 0) + (run.rows_failed or 0)
    if run.rows_failed is None or not rows:
        return NOTHING
    value = 100 * run.rows_failed / rows
    if 0 < value < 0.1:
        return "<0.1"
    return ">99.9" if 99.9 < value < 100 else f"{value:.1f}".removesuffix(".0")


def _finish(run: Run) -> float:
    assert run.finish is not None
    return run.finish


def iso(moment: float | None) -> str | None:
    """A Unix timestamp in the format of the page's machine-readable times."""
    if moment is None:
        return None
    return f"{datetime.fromtimestamp(int(moment), UTC):%Y-%m-%dT%H:%M:%SZ}"
