"""Question 9: whether Braze's API limit is near, and how the exporter is."""

from cdi_exporter import catalog
from cdi_exporter.catalog import ENDPOINT, Metric
from tools.dashboards.layout import Section, line
from tools.dashboards.panels import NONE, About, Panel, Query, Step, coded, lines, tile
from tools.dashboards.promql import (
    LIMITS,
    LOOKBACK,
    NOW,
    RANGE,
    RATE_INTERVAL,
    WORKSPACE,
    count,
    rise,
)
from tools.dashboards.rules import both, by, number, selector
from tools.dashboards.statuses import BLUE, VERMILION, YELLOW
from tools.dashboards.tables import Column, Label, Rows, table_of

OWN = f"and on (job, instance) {catalog.BUILD_INFO.name}"
WARN: tuple[Step, ...] = ((None, BLUE), (1, YELLOW))


def exporter() -> Section:
    """Collapsed, since nothing here is about the data."""
    about_data = (_invalid(), _gaps(), _unread(), _unconfirmed())
    about_itself = (_reload(), _files(), _state(), _dropped())
    return Section(
        "Are we near Braze's API limit? Is the exporter well?",
        [
            line(8, _limit(), _requests(), _waiting()),
            line(8, _refresh(), _request(), _pending()),
            line(4, *about_data),
            line(4, *about_itself),
            line(7, _memory(), _processor(), _instances(), widths=(6, 6, 12)),
        ],
        collapsed=True,
    )


def _of_endpoints(metric: Metric) -> str:
    return selector(metric, WORKSPACE)


def _limit() -> Panel:
    left = f"min by {by(ENDPOINT)} ({_of_endpoints(catalog.API_RATE_LIMIT_REMAINING)})"
    limit = f"max by {by(ENDPOINT)} ({_of_endpoints(catalog.API_RATE_LIMIT)})"
    return lines(
        "API limit left",
        About(
            "What Braze says is left of the rate limit of each endpoint.",
            "share of the limit.",
            "below 20 %: the exporter itself stops there; something else uses the rest.",
            "find what else asks Braze with this workspace's keys; or lower `rate_limit_share`.",
        ),
        "percentunit",
        Query(both("/", left, limit), "{{workspace}}, {{endpoint}}"),
    ).max(1)


def _requests() -> Panel:
    rate = f"rate({_of_endpoints(catalog.API_REQUESTS)}[{RATE_INTERVAL}])"
    return lines(
        "API requests by answer",
        About(
            "Requests to Braze, by endpoint and answer, of all instances of the exporter.",
            "requests per minute.",
            "anything but 200: 401 and 403 are the key's, 429 is the limit, 5xx is Braze.",
            "see the state of the workspace in the first row.",
        ),
        "reqpm",
        Query(
            f"60 * sum by {by(catalog.API_REQUESTS.labels)} ({rate})",
            "{{workspace}}, {{endpoint}}, {{code}}",
        ),
    )


def _waiting() -> Panel:
    rate = f"rate({_of_endpoints(catalog.API_BUDGET_WAIT)}[{RATE_INTERVAL}])"
    return lines(
        "Waiting for the request budget",
        About(
            "How long requests waited so as not to exceed the exporter's share of the limit.",
            "seconds of waiting per second; above 1, several waited at once.",
            "lasting: changes are seen late.",
            "scrape less often, or raise `rate_limit_share`.",
        ),
        "s",
        Query(f"sum by {by(ENDPOINT)} ({rate})", "{{workspace}}, {{endpoint}}"),
    )


def _refresh() -> Panel:
    return lines(
        "Refresh duration",
        About(
            "How long the last complete pass over each workspace took, waiting included.",
            "time.",
            "longer than the scrape timeout: scrapes are answered with what was known before.",
            "see beside whether Braze answers slowly, or the budget makes requests wait.",
        ),
        "s",
        Query(f"max by (workspace) ({_of_endpoints(catalog.REFRESH_DURATION)})", "{{workspace}}"),
    )


def _request() -> Panel:
    buckets = f"{catalog.API_REQUEST_DURATION.name}_bucket{{{WORKSPACE}}}"
    rate = f"sum by (endpoint, le) (rate({buckets}[{RATE_INTERVAL}]))"
    return lines(
        "API request duration",
        About(
            "How long requests to Braze took: the median, and dashed what 5 of 100 exceed.",
            "time.",
            "seconds: Braze, or a proxy before it, is slow.",
            "see Braze's status page, then the network.",
        ),
        "s",
        Query(f"histogram_quantile(0.5, {rate})", "{{endpoint}}, median"),
        Query(f"histogram_quantile(0.95, {rate})", "{{endpoint}}, 95 %", dashed=True),
    )


def _pending() -> Panel:
    return lines(
        "History reads waiting",
        About(
            "Integrations whose change was seen and whose history is still to be read.",
            "reads.",
            "never at zero: the request budget is too small.",
            "scrape less often, or raise `rate_limit_share`.",
        ),
        "short",
        Query(
            f"max by (workspace) ({_of_endpoints(catalog.HISTORY_READS_PENDING)})",
            "{{workspace}}",
        ),
    )


def _invalid() -> Panel:
    rose = f"increase({_of_endpoints(catalog.API_INVALID_ITEMS)}[{RANGE}])"
    return tile(
        "Unreadable items",
        About(
            "Items in Braze's answers that the exporter could not read and left out.",
            "items in the time range.",
            "any: Braze answers otherwise than documented.",
            "see the exporter's log; update it.",
        ),
        f"sum(max by {by(ENDPOINT)} ({rose}))",
        colours=WARN,
        mappings=[NONE],
    )


def _gaps() -> Panel:
    return tile(
        "History gaps",
        About(
            "Times that runs may have gone uncounted, since Braze no longer listed them.",
            "gaps in the time range.",
            "any: counters may lack runs.",
            "give the exporter a state file; see how long it was not scraped.",
        ),
        f"sum({rise(catalog.HISTORY_GAPS)})",
        colours=WARN,
        mappings=[NONE],
    )


def _unread() -> Panel:
    return tile(
        "Unreadable integrations",
        About(
            "Integrations whose own history could not be read at the last try.",
            "integrations.",
            "any that stays: what is known of it grows old.",
            "the exporter's status page names them and the reason; a wrong ID is the usual one.",
        ),
        count(f"{NOW.newest(catalog.INTEGRATION_UP)} == 0"),
        mappings=[NONE],
    )


def _unconfirmed() -> Panel:
    after = number(LIMITS.unrefreshed_after)
    return tile(
        "Not confirmed for an hour",
        About(
            "Integrations whose data was last confirmed more than an hour ago.",
            "integrations.",
            "any: whether they are late or failing is not known.",
            "see whether their workspace can be read, and whether reads wait.",
        ),
        count(f"time() - {NOW.confirmed} > {after}"),
        mappings=[NONE],
    )


def _reload() -> Panel:
    own, web = (
        f"min(last_over_time({metric.name}[{LOOKBACK}]))"
        for metric in (catalog.CONFIG_RELOAD_SUCCESSFUL, catalog.WEB_CONFIG_RELOAD_SUCCESSFUL)
    )
    return tile(
        "Configuration",
        About(
            "Whether each instance took its configuration, and its web configuration where it "
            "has one, when they were last loaded.",
            "1 when all did, else 0.",
            "rejected: the exporter goes on with the one before, and will not start again.",
            "run `cdi-exporter check --offline` with the same file; see the log.",
        ),
        f"{own} * {web}\nor\n  {own}",
        unit="none",
        mappings=[coded({1: ("✔ taken", BLUE), 0: ("✖ rejected", VERMILION)})],
    )


def _state() -> Panel:
    return tile(
        "State writes failed",
        About(
            "Writes to the state file that failed, of all instances.",
            "writes in the time range.",
            "any: counters stand still until it can write again.",
            "see whether the disk is full or read-only.",
        ),
        f"sum(increase({catalog.STATE_WRITES_FAILED.name}[{RANGE}]))",
        mappings=[NONE],
    )


def _files() -> Panel:
    newest = f"min(last_over_time({_of_endpoints(catalog.FILE_RELOAD_SUCCESSFUL)}[{LOOKBACK}]))"
    none_named = f"max(last_over_time({catalog.BUILD_INFO.name}[{LOOKBACK}]))"
    return tile(
        "Key and CA files",
        About(
            "Whether the newest version of each file that the configuration names (`api_key_file`, "
            "`ca_file`) is in use.",
            "1 when all are, or none is named; else 0.",
            "old version: a file was replaced by one that cannot be used, and its last good "
            "version stays in use.",
            "see the exporter's log: it names the file and the reason.",
        ),
        f"{newest}\nor\n  {none_named}",
        unit="none",
        mappings=[coded({1: ("✔ in use", BLUE), 0: ("✖ old version", VERMILION)})],
    )


def _dropped() -> Panel:
    return tile(
        "Log lines dropped",
        About(
            "Log lines that could not be written to stderr, of all instances.",
            "lines in the time range.",
            "any: the log lacks lines; metrics are not affected.",
            "see whether the program that reads the exporter's stderr runs and keeps up.",
        ),
        f"sum(increase({catalog.LOG_LINES_DROPPED.name}[{RANGE}]))",
        colours=WARN,
        mappings=[NONE],
    )


def _memory() -> Panel:
    return lines(
        "Memory",
        About(
            "Memory that the exporter's process occupies.",
            "bytes.",
            "rising for days.",
            "restart it, and report what you saw.",
        ),
        "bytes",
        Query(f"max by (instance) (process_resident_memory_bytes {OWN})", "{{instance}}"),
    )


def _processor() -> Panel:
    return lines(
        "Processor",
        About(
            "How much of one processor the exporter uses.",
            "share of one processor.",
            "near 100 %: scrapes are answered late.",
            "scrape less often.",
        ),
        "percentunit",
        Query(
            f"max by (instance) (rate(process_cpu_seconds_total[{RATE_INTERVAL}]) {OWN})",
            "{{instance}}",
        ),
    )


def _instances() -> Panel:
    rows = f"max by (instance, version, python_version) ({catalog.BUILD_INFO.name})"
    return table_of(
        "Instances",
        About(
            "Each instance of the exporter: its version, how long it has run, and when it last "
            "took a configuration.",
            "time.",
            "a start that nobody made; different versions.",
            "see its log.",
        ),
        Rows("instance", rows, "instance"),
        Label("instance", "instance"),
        Label("version", "version", 80),
        Label("python_version", "Python", 80),
        Column(
            "started",
            "started",
            f"max by (instance) (process_start_time_seconds {OWN}) * 1000",
            "dateTimeFromNow",
            120,
            absent="not known",
        ),
        Column(
            "loaded",
            "configured",
            f"max by (instance) ({catalog.CONFIG_RELOAD_TIME.name}) * 1000",
            "dateTimeFromNow",
            120,
            absent="not known",
        ),
        sort="started",
    )
