"""Pieces of annotations: what a person wants to read, asked of Prometheus as the alert fires.

An alert's value is one number and its labels must not change while it fires; so the rest
(status, failures in a row, times) is queried within the template.
"""

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from tools.prometheus_rules.promql import selector
from tools.prometheus_rules.thresholds import Thresholds

OVERVIEW = "/d/braze-cdi-overview"
OF_WORKSPACE = f"{OVERVIEW}?var-workspace={{{{ $labels.workspace | urlquery }}}}"
OF_INTEGRATION = (
    "/d/braze-cdi-integration?var-workspace={{ $labels.workspace | urlquery }}"
    "&var-integration={{ $labels.integration_name | urlquery }}"
)
"""Dashboards, with their variables filled."""

VALUE = ". | first | value"
DURATION = f"{{{{ {VALUE} | humanizeDuration }}}}"
COUNT = f'{{{{ {VALUE} | printf "%.0f" }}}}'
SHARE = f"{{{{ {VALUE} | humanizePercentage }}}}"
TIME = f'{{{{ ({VALUE} | toTime).Format "2006-01-02 15:04 UTC" }}}}'
"""How the value of a query is written."""

REASONS = {
    "unauthorized": "Braze does not know the API key (401)",
    "forbidden": "the API key lacks a permission (403)",
    "rate_limited": "the API rate limit is spent (429)",
    "timeout": "Braze does not answer in time",
    "connection": "no connection to Braze",
    "server_error": "Braze answers with an error of its own (5xx)",
    "invalid_response": "what answers is not the documented API, a proxy perhaps",
    "other": "the exporter's log tells",
}
"""Values of the label `reason`, in words."""


FILES = {"api_key": "file with the API key", "ca_file": "CA bundle (ca_file)"}
"""Values of the label `kind`, in words."""

NO_REASON = (
    "no request failed, but no refresh comes to its end: they wait for the API rate limit, "
    "which something else spends, or the exporter hangs"
)
"""Why a workspace that gets through is not read."""


class Facts:
    """Queries about the integration or workspace that an alert names."""

    def __init__(self, limits: Thresholds) -> None:
        self._lookback = limits.lookback

    def _asked(self, query: str, labels: tuple[str, ...], found: str, otherwise: str) -> str:
        arguments = " ".join(f"$labels.{label}" for label in labels)
        no = f"{{{{ else }}}}{otherwise}" if otherwise else ""
        return f"{{{{ with printf `{query}` {arguments} | query }}}}{found}{no}{{{{ end }}}}"

    def _newest(self, metric: Metric, labels: tuple[str, ...], further: str = "") -> str:
        matchers = ",".join(f"{label}=%q" for label in labels) + further
        return f"last_over_time({selector(metric, matchers)}[{self._lookback}])"

    def _state(self, metric: Metric, labels: tuple[str, ...], of: str) -> str:
        """The state that is 1: now, or where a scrape was missed the newest.

        The state that an instance told before another took over must not be among them.
        """
        matchers = ",".join(f"{label}=%q" for label in labels)
        now, newest = selector(metric, matchers), self._newest(metric, labels)
        return f"max by ({of}) ({now}) == 1 or on () max by ({of}) ({newest}) == 1"

    def of_integration(self, metric: Metric, found: str, otherwise: str = "") -> str:
        """The value of a metric of this integration, written as `found`."""
        labels = ("workspace", "integration_id")
        return self._asked(f"max({self._newest(metric, labels)})", labels, found, otherwise)

    def of_workspace(self, metric: Metric, found: str, otherwise: str = "") -> str:
        """The value of a metric of this workspace, written as `found`."""
        labels = ("workspace",)
        return self._asked(f"max({self._newest(metric, labels)})", labels, found, otherwise)

    def status(self) -> str:
        """The status of this integration's last run, as Braze calls it."""
        labels = ("workspace", "integration_id")
        query = self._state(catalog.LAST_SYNC_STATUS, labels, "status")
        return self._asked(query, (*labels, *labels), '{{ . | first | label "status" }}', "unknown")

    def failures(self) -> str:
        """`; 3 failed runs in a row`, or nothing where none failed."""
        labels = ("workspace", "integration_id")
        query = f"max({self._newest(catalog.CONSECUTIVE_FAILURES, labels)}) > 0"
        runs = f"{{{{ if eq ({VALUE}) 1.0 }}}} failed run{{{{ else }}}} failed runs in a row"
        return self._asked(query, labels, f"; {COUNT}{runs}{{{{ end }}}}", "")

    def last_delivery(self) -> str:
        """When rows of this integration last arrived in Braze, or since when none have."""
        never = self.of_integration(
            catalog.HISTORY_START,
            f"no delivery since its history began at {TIME}",
            "no delivery is known",
        )
        return self.of_integration(catalog.LAST_DELIVERY, f"last delivery at {TIME}", never)

    def list_answer(self) -> str:
        """The most frequent failure of requests for this workspace's list, as a sentence."""
        labels = ("workspace",)
        matchers = 'workspace=%q,endpoint="integrations",code!="200"'
        requests = selector(catalog.API_REQUESTS, matchers) + "[1h]"
        query = f"topk(1, max by (code) (increase({requests})) > 0)"
        found = ' Most frequent failure of these requests: {{ . | first | label "code" }}.'
        return self._asked(query, labels, found, "")

    def next_run(self) -> str:
        """When this integration runs next, as far as the list tells."""
        return self.of_integration(
            catalog.NEXT_SCHEDULED_SYNC, f"next attempt at {TIME}", "no next attempt is known"
        )

    def rows(self) -> str:
        """How many rows of the last run failed, of how many: `17 of 340 rows (5%)`."""
        labels = ("workspace", "integration_id")
        failed = self._newest(catalog.LAST_SYNC_ROWS_FAILED, labels)
        synced = self._newest(catalog.LAST_SYNC_ROWS_SYNCED, labels)
        twice = (*labels, *labels)
        every = self._asked(f"max({synced}) + max({failed})", twice, f" of {COUNT} rows", " rows")
        share = self._asked(
            f"max({failed}) / (max({synced}) + max({failed})) >= 0",
            (*twice, *labels),
            f" ({SHARE})",
            "",
        )
        return self.of_integration(catalog.LAST_SYNC_ROWS_FAILED, COUNT + every + share, "unknown")

    def rows_of_hour(self) -> str:
        """How many rows failed within an hour, as a sentence; nothing where none did.

        The difference, since `increase` would estimate; a restart within the hour hides some.
        """
        labels = ("workspace", "integration_id")
        series = selector(catalog.ROWS_FAILED, "workspace=%q,integration_id=%q") + "[1h]"
        query = f"max(max_over_time({series}) - min_over_time({series})) > 0"
        found = f" Within the last hour at least {COUNT} rows failed."
        return self._asked(query, (*labels, *labels), found, "")

    def rejected_file(self) -> str:
        """Which file this exporter rejected."""
        labels = ("job", "instance")
        query = f"max({self._newest(catalog.CONFIG_RELOAD_SUCCESSFUL, labels)}) == 0"
        return self._asked(query, labels, "configuration", "web configuration (--web.config.file)")

    def kind_of_file(self) -> str:
        """Which file cannot be used, in words."""
        choices = "{{ else if ".join(
            f'eq $labels.kind "{kind}" }}}}{words}' for kind, words in FILES.items()
        )
        return f"{{{{ if {choices}{{{{ else }}}}file{{{{ end }}}}"

    def reason(self) -> str:
        """Why this workspace cannot be read, in words."""
        labels = ("workspace",)
        query = self._state(catalog.REFRESH_ERROR, labels, "reason")
        return self._asked(query, (*labels, *labels), _in_words(), NO_REASON)


def _in_words() -> str:
    choices = "{{ else if ".join(
        f'eq $reason "{reason}" }}}}{words}' for reason, words in REASONS.items()
    )
    return f'{{{{ $reason := . | first | label "reason" }}}}{{{{ if {choices}{{{{ end }}}}'
