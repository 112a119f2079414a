"""The result of `check` as values, from which the table and the JSON are made.

The docstrings of the fields are the descriptions in `docs/check.schema.json`.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from cdi_exporter.model import Status


class Level(StrEnum):
    """How much a finding matters: an error makes the exit status 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a sentence, and what to do about it."""

    level: Level
    code: str
    """A word that programs can compare, such as `unauthorized`."""
    text: str
    """What holds."""
    advice: str = ""
    """What to do; empty where nothing has to be done."""


class Granted(StrEnum):
    """Whether the key has a permission; `likely` where Braze objects to something else only."""

    YES = "yes"
    LIKELY = "likely"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LastRun:
    """A run that has finished. A fact that Braze did not give is null."""

    status: Status
    """Braze's `job_status`; `unknown` is a value that this version does not know."""
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
    """Braze's own word if the status is unknown; null for a known status."""


@dataclass(frozen=True, slots=True)
class CheckedIntegration:
    """One integration, as far as it was read."""

    integration_id: str
    """Braze's ID."""
    integration_name: str
    """The configured name, else Braze's, else the ID."""
    watched: bool = True
    """Whether the configuration leaves it in."""
    history_read: bool = False
    """Whether its history was read; else its last run is as the list has it."""
    last_run: LastRun | None = None
    """The newest run that has finished."""
    running_start_timestamp_seconds: float | None = None
    """When the oldest run under way began, in Unix seconds; null where none is."""
    running_job_status: str | None = None
    """Braze's own word for that run if its status is unknown."""
    watermark_timestamp_seconds: float | None = None
    """`last_timestamp_synced` of the newest finished run that has one, in Unix seconds; the list's
    `last_updated_at` if the history was not read."""
    typical_sync_interval_seconds: float | None = None
    """Median from the start of a run to the start of the next."""
    next_scheduled_sync_timestamp_seconds: float | None = None
    """Unix seconds."""
    problem: str | None = None
    """Why its history could not be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one endpoint is asked by a running exporter."""

    requests_per_minute: float
    """About how many requests watching takes."""
    budget_per_minute: int
    """How many the exporter allows itself: `rate_limit_share` of the limit."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What watching takes of the request budget, and how soon it shows a change."""

    integrations: Load
    """The list of integrations."""
    job_sync_status: Load
    """The histories."""
    refresh_interval_seconds: float
    """From one refresh to the next; a finished run shows within this time if `keeps_up`."""
    keeps_up: bool
    """Whether the budget allows a refresh at each scrape, and each history in time."""
    intervals_assumed: int = 0
    """Integrations whose time between runs is not known; the mean of the others is assumed."""


@dataclass(frozen=True, slots=True)
class CheckedWorkspace:
    """One workspace: whether its key works, what it may read, and what there is."""

    workspace: str
    """Its name in the configuration."""
    endpoint: str
    """The REST endpoint as it is used."""
    cluster: str | None = None
    """As Braze calls it, such as `US-03`; null for one that is not known here."""
    ok: bool = True
    """Whether everything works that the configuration needs: no finding is an error."""
    key_works: bool | None = None
    """Whether Braze knows the key; null where it did not say."""
    permissions: dict[str, Granted] | None = None
    """By their names in Braze; null where nothing was asked."""
    list_complete: bool = False
    """Whether the whole list of integrations was read."""
    integrations: tuple[CheckedIntegration, ...] = ()
    """Those with trouble first."""
    cost: Cost | None = None
    """Null where nothing is known to be watched."""
    findings: tuple[Finding, ...] = ()
    """The gravest first."""

    @property
    def watched(self) -> tuple[CheckedIntegration, ...]:
        """The integrations that the exporter would show."""
        return tuple(each for each in self.integrations if each.watched)


@dataclass(frozen=True, slots=True)
class LeaderOf:
    """Which exporter leads a workspace."""

    workspace: str
    """Its name in the configuration."""
    leader: str | None
    """The name of the exporter; null if none leads now."""


@dataclass(frozen=True, slots=True)
class CheckedDatabase:
    """The database of `--state.url`, which several exporters share."""

    ok: bool
    """Whether an exporter can use it: no finding is an error."""
    reachable: bool
    """Whether a connection and the login succeeded. Everything below is null or empty if not."""
    server_version: str | None = None
    """PostgreSQL's version."""
    schema_version: int | None = None
    """The version of the tables: 0 if there are none; null if it may not be read."""
    known_schema_version: int | None = None
    """The newest version that this exporter knows."""
    may_read: bool | None = None
    """Whether the user may read the tables; null if there are none."""
    may_write: bool | None = None
    """Whether the user may write the tables; null if there are none."""
    may_create: bool | None = None
    """Whether the user may create tables."""
    leaders: tuple[LeaderOf, ...] = ()
    """For each workspace of the configuration; empty if the tables cannot be read."""
    findings: tuple[Finding, ...] = ()
    """What is wrong, and notes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `cdi-exporter check --output=json` writes."""

    version: str
    """The exporter's version."""
    timestamp_seconds: float
    """When it was asked, in Unix seconds of this machine."""
    ok: bool
    """Whether all workspaces and the database are ok: exit status 0."""
    offline: bool
    """Whether the configuration alone was checked."""
    scrape_interval_seconds: float
    """The scrape interval that the cost is for."""
    workspaces: tuple[CheckedWorkspace, ...]
    """In the order of the configuration."""
    database: CheckedDatabase | None = None
    """Null without `--state.url`, and with `--offline`."""

    def to_json(self) -> str:
        """The report for programs."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)
