"""The result of `check`. The table and the JSON are made from it.

The docstrings of classes and fields are the descriptions in `docs/check.schema.json`.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from cdi_exporter.model import Status


class Level(StrEnum):
    """The severity of a finding. An error makes the exit status 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a fact that the user should know, and what to do about it."""

    level: Level
    code: str
    """An identifier for programs, such as `unauthorized`."""
    text: str
    """What was found."""
    advice: str = ""
    """What to do; empty if nothing has to be done."""


class Granted(StrEnum):
    """Whether the key has a permission; `likely` if Braze rejected a request for another reason."""

    YES = "yes"
    LIKELY = "likely"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LastRun:
    """A finished run. A value that Braze did not return is null."""

    status: Status
    """Braze's `job_status`; `unknown` for a value that this version does not know."""
    start_timestamp_seconds: float | None = None
    """Unix seconds."""
    finish_timestamp_seconds: float | None = None
    """Unix seconds."""
    duration_seconds: float | None = None
    """From start to finish."""
    rows_synced: int | None = None
    """Rows that reached Braze."""
    rows_failed: int | None = None
    """Rows that failed with errors."""
    job_status: str | None = None
    """Braze's `job_status` if the status is `unknown`; null for a known status."""


@dataclass(frozen=True, slots=True)
class CheckedIntegration:
    """One integration, with the data that could be read."""

    integration_id: str
    """Braze's ID."""
    integration_name: str
    """The configured name, else Braze's, else the ID."""
    watched: bool = True
    """Whether the configuration selects it."""
    history_read: bool = False
    """Whether its history was read. If not, its last run comes from the list."""
    last_run: LastRun | None = None
    """The newest finished run."""
    running_start_timestamp_seconds: float | None = None
    """When the oldest run in progress started, in Unix seconds; null if none is."""
    running_job_status: str | None = None
    """Braze's `job_status` of that run if its status is `unknown`."""
    watermark_timestamp_seconds: float | None = None
    """`last_timestamp_synced` of the newest finished run that has one, in Unix seconds. If the
    history was not read, `last_updated_at` from the list."""
    typical_sync_interval_seconds: float | None = None
    """Median time from the start of a run to the start of the next."""
    next_scheduled_sync_timestamp_seconds: float | None = None
    """Unix seconds."""
    problem: str | None = None
    """Why its history could not be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """The requests of a running exporter to one endpoint."""

    requests_per_minute: float
    """Estimated requests that watching takes."""
    budget_per_minute: int
    """Requests that the exporter may use: `rate_limit_share` of the limit."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The requests that watching takes, and how soon it shows a change."""

    integrations: Load
    """The list of integrations."""
    job_sync_status: Load
    """The histories."""
    refresh_interval_seconds: float
    """Time from one refresh to the next. If `keeps_up`, a finished run appears within this time."""
    keeps_up: bool
    """Whether the budget is sufficient for a refresh at each scrape and for all histories."""
    intervals_assumed: int = 0
    """Integrations whose time between runs is unknown. The mean of the others is assumed."""


@dataclass(frozen=True, slots=True)
class CheckedWorkspace:
    """One workspace: its key, its permissions and its integrations."""

    workspace: str
    """Its name in the configuration."""
    endpoint: str
    """The URL of the REST endpoint."""
    cluster: str | None = None
    """Braze's name of the cluster, such as `US-03`; null if it is unknown."""
    ok: bool = True
    """Whether everything that the configuration needs works: no finding is an error."""
    key_works: bool | None = None
    """Whether Braze knows the key; null if no answer shows it."""
    permissions: dict[str, Granted] | None = None
    """The permissions by their names in Braze; null with `--offline`."""
    list_complete: bool = False
    """Whether the whole list of integrations was read."""
    integrations: tuple[CheckedIntegration, ...] = ()
    """Integrations with a problem come first."""
    cost: Cost | None = None
    """Null if no integration is known to be watched."""
    findings: tuple[Finding, ...] = ()
    """The most severe findings come first."""

    @property
    def watched(self) -> tuple[CheckedIntegration, ...]:
        """The integrations that the configuration selects."""
        return tuple(each for each in self.integrations if each.watched)


@dataclass(frozen=True, slots=True)
class LeaderOf:
    """The exporter that leads a workspace."""

    workspace: str
    """Its name in the configuration."""
    leader: str | None
    """The name of the exporter; null if none leads."""


@dataclass(frozen=True, slots=True)
class CheckedDatabase:
    """The database of `--state.url`, which several exporters share."""

    ok: bool
    """Whether an exporter can use it: no finding is an error."""
    reachable: bool
    """Whether connection and login succeeded. If not, the fields below are null or empty."""
    server_version: str | None = None
    """PostgreSQL's version."""
    schema_version: int | None = None
    """The version of the tables: 0 if there are none; null if the user may not read it."""
    known_schema_version: int | None = None
    """The newest version that this exporter knows."""
    may_read: bool | None = None
    """Whether the user may read the tables; null if there are none."""
    may_write: bool | None = None
    """Whether the user may write the tables; null if there are none."""
    may_create: bool | None = None
    """Whether the user may create tables."""
    leaders: tuple[LeaderOf, ...] = ()
    """One entry per configured workspace; empty if the tables cannot be read."""
    findings: tuple[Finding, ...] = ()
    """Errors and notes."""


@dataclass(frozen=True, slots=True)
class Report:
    """The output of `cdi-exporter check --output=json`."""

    version: str
    """The exporter's version."""
    timestamp_seconds: float
    """When the check ended, in Unix seconds of this machine."""
    ok: bool
    """Whether all workspaces and the database are ok: exit status 0."""
    offline: bool
    """Whether only the configuration was checked."""
    scrape_interval_seconds: float
    """The scrape interval for which `cost` is estimated."""
    workspaces: tuple[CheckedWorkspace, ...]
    """In the order of the configuration."""
    database: CheckedDatabase | None = None
    """Null without `--state.url`, and with `--offline`."""

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
