"""The status page as HTML."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from cdi_exporter import __version__, wording
from cdi_exporter.model import Run, Status
from cdi_exporter.problems import problem_of
from cdi_exporter.web.choice import ORDERS, Choice
from cdi_exporter.web.sparkline import sparkline
from cdi_exporter.web.status import FILTERS, WorkspaceStatus

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_ROWS = 1_000
"""Most integrations of one workspace on a page: browsers stay fast. Filters show the others."""

LONGEST_NAME = 200
"""Most characters of a name from the API that are shown."""

TURNS_TEXT = dict.fromkeys(
    (*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}"
)
"""Replacements for characters that change the direction of text: they could disguise a name."""

_EXAMPLE = (
    *(Run(Status.SUCCESS, rows_synced=70 + 20 * (each % 3)) for each in range(16)),
    Run(Status.PARTIAL, rows_synced=60),
    Run(Status.SUCCESS, rows_synced=80),
    Run(Status.ERROR, rows_synced=0),
    Run(Status.ERROR, rows_synced=0),
    Run(Status.CONFIG_ERROR, rows_synced=0),
    Run(Status.UNKNOWN, rows_synced=50),
    Run(Status.SUCCESS, rows_synced=100),
    Run(Status.SUCCESS, rows_synced=90),
)
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[a-z%])")
FILTER_LABELS = {
    "all": "all",
    "attention": "need attention",
    "config_error": "config error",
    "hanging": "stuck",
    "none": "no known runs",
}


def status_page(
    workspaces: Sequence[WorkspaceStatus],
    choice: Choice,
    now: float,
    *,
    names: Sequence[str],
    host: str,
    telemetry_path: str,
) -> str:
    """The page as HTML; `names` are those of all workspaces, including those not selected.

    It shows a scrape configuration with `host` and `telemetry_path`. Its links are relative, so
    that a proxy can serve it under a path prefix.
    """
    template = _environment().get_template("status.html")
    return template.render(
        workspaces=workspaces,
        every=names,
        choice=choice,
        host=host,
        telemetry_path=telemetry_path,
        metrics=telemetry_path.lstrip("/"),
        attention=sum(each.counts["attention"] for each in workspaces),
        integrations=sum(len(each.integrations) for each in workspaces),
        failing=sum(each.state == "failing" for each in workspaces),
        waiting=all(each.state == "waiting" for each in workspaces),
        now=now,
    )


@cache
def _environment() -> "Environment":
    # Imported when the page is first requested: most exporters never show it, and it takes 1.5 MB.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("cdi_exporter.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=lambda seconds: _kept(wording.duration(seconds)),
        moment=lambda seconds: _kept(wording.moment(seconds)),
        count=wording.count,
        percent=lambda ratio: _kept(wording.percent(ratio)),
        kept=_kept,
        short=_short,
        iso=lambda timestamp: _date(timestamp).replace("+00:00", "Z"),
        utc=lambda timestamp: _date(timestamp, "%Y-%m-%d %H:%M:%S UTC"),
        clock=lambda timestamp: _date(timestamp, "%H:%M:%S"),
    )
    environment.globals.update(
        version=__version__,
        glyphs=wording.GLYPHS,
        orders=ORDERS,
        filters={name: FILTER_LABELS.get(name, name) for name in FILTERS},
        most_rows=MOST_ROWS,
        sparkline=sparkline,
        example=_EXAMPLE,
        things=wording.things,
        problem_of=problem_of,
    )
    return environment


def _kept(text: str) -> str:
    """Keep numbers and their units on one line."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)


def _short(name: str) -> str:
    name = name.translate(TURNS_TEXT)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _date(timestamp: float, form: str | None = None) -> str:
    """A date in this format, or in ISO 8601; empty if `datetime` cannot represent it."""
    date = wording.utc(timestamp)
    if date is None:
        return ""
    return date.strftime(form) if form else date.isoformat(timespec="seconds")
