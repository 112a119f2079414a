"""The section about reading the workspaces: whether it is complete, and the API limit."""

from tools.dashboards.board import Section, line
from tools.dashboards.panels import STACKED, Json, Query, coloured, lines
from tools.dashboards.promql import (
    CURRENT,
    LIST_UNREADABLE,
    LOOKBACK,
    NOW,
    OLD,
    RANGE,
    REASON_CODES,
    SILENT,
    UNCONFIRMED_AFTER,
    UNREADABLE,
    limit_left,
    or_unknown,
    rise,
    series,
    trust,
    workspace,
)
from tools.dashboards.states import BLUE, FAINT, GREY, LIGHT_BLUE, VERMILION, YELLOW, Looks
from tools.dashboards.tables import Column, Label, table

RATE = "$__rate_interval"
REASONS = {
    "unauthorized": "API key unknown (401)",
    "forbidden": "permission missing (403)",
    "rate_limited": "rate limit spent (429)",
    "timeout": "Braze does not answer in time",
    "connection": "no connection to Braze",
    "server_error": "Braze has a problem (5xx)",
    "invalid_response": "not Braze's API",
    "other": "see the status page",
}
"""Short texts of the reasons why a workspace cannot be read."""

TRUST: Looks = {
    CURRENT: ("✔ data is current", FAINT),
    LIST_UNREADABLE: ("◐ list not readable", YELLOW),
    OLD: ("✖ older than 15 min", VERMILION),
    UNREADABLE: ("✖ not readable", VERMILION),
    **{code: (f"✖ {REASONS[reason]}", VERMILION) for reason, code in REASON_CODES.items()},
    SILENT: ("✖ exporter does not answer", VERMILION),
}


def exporter() -> Section:
    """A collapsed section, because nothing in it is about the data."""
    graphs = line(7, _limit(), _requests(), _refresh())
    return Section(
        "Is Braze's API limit near? Is anything unread?",
        [line(5, _workspaces()), graphs],
        collapsed=True,
    )


def _workspaces() -> Json:
    pending = workspace("history_reads_pending")
    left = limit_left(lookback=LOOKBACK)
    old = f"time() - {NOW.confirmed} > {UNCONFIRMED_AFTER} or {NOW.value('integration_up')} == 0"
    unconfirmed = f"count by (workspace) ({old}) or 0 * count by (workspace) ({NOW.known})"
    gaps = f"sum by (workspace) ({rise('history_gaps_total')})"
    invalid = f"increase({series('api_invalid_items_total')}[{RANGE}])"
    unreadable = f"sum by (workspace) (max by (workspace, endpoint) ({invalid}))"
    age = f"time() - {workspace('last_refresh_timestamp_seconds')}"

    def of_each(expr: str) -> str:
        return or_unknown(expr, pending, "workspace")

    return table(
        "Workspaces",
        """Each workspace: whether its data is current; the age and duration of its last refresh;
        its integrations, and how many were not confirmed for an hour or cannot be read; history
        reads that wait; what is left of the scarcer API limit; history gaps and unreadable items
        in the time range.
        Bad: a state other than current; integrations that are not confirmed; reads that wait for
        long; any gap, because counters may lack runs.
        First: open the exporter's status page: it says what to do about each problem.""",
        pending,
        "workspace",
        Label("workspace", "workspace"),
        Column(
            "state", "state", of_each(trust()), "none", 240, looks=TRUST, coloured=True, words=True
        ),
        Column("age", "last refresh", of_each(age), "s", 100, "never"),
        Column("took", "took", of_each(workspace("refresh_duration_seconds")), "s", 80, decimals=1),
        Column("known", "integrations", of_each(workspace("integrations")), "short", 105),
        Column("old", "not confirmed", of_each(unconfirmed), "short", 115),
        Column("pending", "reads waiting", of_each(pending), "short", 115),
        Column("left", "limit left", of_each(f"min by (workspace) ({left})"), "percentunit", 90),
        Column("gaps", "history gaps", of_each(gaps), "short", 110),
        Column("invalid", "unreadable items", of_each(unreadable), "short", 130),
        sort=("state",),
    )


def _limit() -> Json:
    def left(endpoint: str) -> str:
        return f"min({limit_left(endpoint=endpoint)})"

    return lines(
        "API limit left, lowest workspace",
        """What Braze reported as left of the rate limit of each endpoint, in the workspace that has
        the least.
        Bad: below 20 %, because the exporter stops there by default: something else uses the rest.
        First: find what else uses this workspace's API; or lower `rate_limit_share`.""",
        "percentunit",
        Query(left("integrations"), "integrations", LIGHT_BLUE),
        Query(left("job_sync_status"), "job_sync_status", BLUE),
        max=1,
    )


def _requests() -> Json:
    return lines(
        "API requests by answer",
        """Requests to Braze of all instances of the exporter, by HTTP status or failure.
        Bad: anything but 200; 401 and 403 come from the API key, 429 from the limit, 5xx from
        Braze.
        First: see the state of the workspaces above.""",
        "reqpm",
        Query(f"60 * sum by (code) (rate({series('api_requests_total')}[{RATE}]))", "{{code}}"),
        custom=STACKED,
        overrides=coloured({"200": BLUE, "429": YELLOW, "(?!200|429).*": VERMILION}),
    )


def _refresh() -> Json:
    buckets = series("api_request_duration_seconds_bucket")
    return lines(
        "Duration of refreshes and requests",
        """How long the last refresh of the slowest workspace took, including time that requests
        waited for the budget; and how long 95 % of the requests to Braze took at most.
        Bad: refreshes longer than the scrape timeout, because scrapes are answered with older data.
        First: if requests are slow, check Braze's status page and the network; else the budget
        makes them wait: scrape less often, or raise `rate_limit_share`.""",
        "s",
        Query(f"max({series('refresh_duration_seconds')})", "slowest refresh", BLUE),
        Query(
            f"histogram_quantile(0.95, sum by (le) (rate({buckets}[{RATE}])))",
            "95 % of requests",
            GREY,
            dashed=True,
        ),
    )
