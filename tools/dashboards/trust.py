"""Question 0: whether the page can be believed."""

from cdi_exporter import catalog
from tools.dashboards.layout import Section, line
from tools.dashboards.panels import NONE, About, Panel, coded, tile
from tools.dashboards.promql import (
    LIST_UNREADABLE,
    LOOKBACK,
    NOW,
    RANGE,
    READABLE,
    REASON_CODES,
    UNREADABLE,
    WORKSPACE,
    count,
    count_by_workspace,
    of_workspace,
    workspace_column,
    workspace_state,
)
from tools.dashboards.rules import MINUTE, both, bracketed, indented, newest, selector
from tools.dashboards.statuses import BLUE, VERMILION, YELLOW
from tools.dashboards.tables import Column, Label, Rows, table_of

AGES = ((None, BLUE), (5 * MINUTE, YELLOW), (15 * MINUTE, VERMILION))
"""Of a refresh; scrapes are seconds to two minutes apart."""

WORDS = {
    "unauthorized": "key not known (401)",
    "forbidden": "permission missing (403)",
    "rate_limited": "rate limit spent (429)",
    "timeout": "no answer in time",
    "connection": "no connection",
    "server_error": "Braze has a problem (5xx)",
    "invalid_response": "not Braze's answer",
    "other": "see the status page",
}
"""Why a workspace cannot be read, in few words."""

STATES = coded(
    {
        READABLE: ("✔ readable", BLUE),
        LIST_UNREADABLE: ("◐ list not readable", YELLOW),
        UNREADABLE: ("✖ not readable", VERMILION),
    }
    | {code: (f"✖ {WORDS[reason]}", VERMILION) for reason, code in REASON_CODES.items()}
)


def trust() -> Section:
    """The first row: loud when what stands below is old."""
    tiles = (_scraped(), _unreadable(), _oldest())
    return Section(
        "Can I believe this page?", [line(5, *tiles, _workspaces(), widths=(3, 3, 3, 15))]
    )


def _scraped() -> Panel:
    served = selector(catalog.UP, WORKSPACE)
    targets = both(
        "or",
        f"last_over_time({catalog.BUILD_INFO.name}[{RANGE}])",
        f"last_over_time({served}[{RANGE}])",
    )
    return tile(
        "Exporter",
        About(
            "Whether Prometheus reaches every target that gave it this exporter's metrics within "
            "the time range.",
            "1 when all of them answer, else 0.",
            "a target is silent: what stands below grows old. No data: no exporter was scraped in "
            "this time range.",
            "see Prometheus, Status, Targets; then whether the exporter runs, and its log.",
        ),
        f"min(\n  up\n  and on (job, instance)\n{indented(bracketed(targets))}\n)",
        unit="none",
        mappings=[coded({1: ("✔ answers", BLUE), 0: ("✖ silent", VERMILION)})],
    )


def _unreadable() -> Panel:
    up = of_workspace(catalog.UP)
    return tile(
        "Unreadable",
        About(
            "Workspaces whose last refresh failed, at every instance of the exporter.",
            "workspaces.",
            "any: its syncs go unseen, and what stands below of it is old.",
            "read the reason in the table beside; the exporter's status page says what to do.",
        ),
        count(f"{up} == 0", up),
        mappings=[NONE],
    )


def _oldest() -> Panel:
    return tile(
        "Oldest refresh",
        About(
            "Age of the last complete pass over a workspace, where it is highest.",
            "time.",
            "more than a few scrape intervals: what stands below of that workspace is as old.",
            "find the workspace in the table beside.",
        ),
        f"max(time() - {of_workspace(catalog.LAST_REFRESH)})",
        unit="s",
        colours=AGES,
    )


def _workspaces() -> Panel:
    failing = NOW.newest(catalog.LAST_SYNC_STATUS, 'status=~"error|config_error"')
    left = both(
        "/",
        newest(catalog.API_RATE_LIMIT_REMAINING, LOOKBACK, WORKSPACE),
        newest(catalog.API_RATE_LIMIT, LOOKBACK, WORKSPACE),
    )
    pending = of_workspace(catalog.HISTORY_READS_PENDING)
    return table_of(
        "Workspaces",
        About(
            "Each workspace: whether it can be read, and why not; how long ago its last complete "
            "refresh was; how many integrations it has, how many are late, and how many failed "
            "last; what is left of the scarcer API limit; history reads that wait.",
            "each column's own: time, numbers, share of the limit.",
            "not readable, or an age of more than a few scrape intervals. *list not readable*: new "
            "integrations are not discovered. Reads that wait for long: the request budget is too "
            "small for this scrape interval.",
            "the exporter's status page says what to do about each reason.",
        ),
        Rows("pending", pending, "workspace"),
        Label("workspace", "workspace", 110),
        Column("state", "state", workspace_column(workspace_state()), "none", mapping=STATES),
        Column(
            "refresh",
            "age",
            workspace_column(f"time() - {of_workspace(catalog.LAST_REFRESH)}"),
            "s",
            80,
            colours=AGES,
            absent="never",
        ),
        Column(
            "integrations",
            "integrations",
            workspace_column(of_workspace(catalog.INTEGRATIONS)),
            "short",
            100,
        ),
        Column("late", "late", count_by_workspace(NOW.late), "short", 50),
        Column("failing", "failing", count_by_workspace(f"{failing} == 1"), "short", 65),
        Column(
            "budget",
            "limit left",
            workspace_column(f"min by (workspace) (\n{indented(left)}\n)"),
            "percentunit",
            80,
        ),
        Column("pending", "waiting", pending, "short", 75),
        sort="state",
    )
