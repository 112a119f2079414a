"""What the status page and its JSON show: the snapshots, judged at one moment.

Values only; how they are written is the matter of `page` and `document`. Ages and
judgements are made here, since they change with the clock while the facts do not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from cdi_exporter import wording
from cdi_exporter.model import FINISHED_STATUSES, RequestRecord, Run, Status, in_future
from cdi_exporter.problems import BY_REASON, OTHER
from cdi_exporter.snapshot import EndpointSnapshot, Facts, IntegrationSnapshot, WorkspaceSnapshot

SILENT_AFTER = 600.0
"""Seconds without a refresh or a request after which nobody seems to scrape."""

HANGS_AFTER_TYPICAL = 3
"""A run hangs when it takes longer than this many typical durations, and `HANGS_AFTER`."""

HANGS_AFTER = 3_600.0
HANGS_AFTER_WITHOUT_TYPICAL = 6 * 3_600.0
SUCCEEDED = "200"


class WorkspaceState(StrEnum):
    """How one workspace does."""

    WAITING = "waiting"
    """No scrape has asked for it yet."""
    STARTING = "starting"
    """The first refresh is under way."""
    OK = "ok"
    SILENT = "silent"
    """It got through, but nobody has asked for a while."""
    FAILING = "failing"


class Concern(StrEnum):
    """Why an integration needs attention; the most urgent first."""

    LATE = "late"
    CONFIG_ERROR = "config_error"
    ERROR = "error"
    HANGING = "hanging"
    UNREADABLE = "unreadable"
    WATERMARK = "watermark"
    UNKNOWN = "unknown"
    PARTIAL = "partial"


_URGENCY = {concern: len(Concern) - place for place, concern in enumerate(Concern)}


class IntegrationStatus:
    """One integration at the moment `now` (Unix seconds)."""

    def __init__(self, shown: IntegrationSnapshot, now: float) -> None:
        self.facts: Facts = shown.facts
        self.refreshed, self.up, self.problem = shown.refreshed, shown.up, shown.problem
        self.now = now

    @property
    def last(self) -> Run | None:
        """The newest finished run."""
        return self.facts.last

    @property
    def last_at(self) -> float | None:
        """When the newest finished run ended, else when it began."""
        last = self.facts.last
        if last is None:
            return None
        return last.start if last.finish is None else last.finish

    @property
    def failed_ratio(self) -> float | None:
        """The part of the last run's rows that failed, 0 to 1; None if rows are not known."""
        return failed_ratio(self.facts.last)

    @cached_property
    def success_age(self) -> float | None:
        """Seconds since the last success; without any, since the oldest run known began."""
        since = self.facts.last_success
        since = self.facts.history_start if since is None else since
        return None if since is None else self.now - since

    @cached_property
    def delivery_age(self) -> float | None:
        """Seconds since the last success or partial run; without any, since the oldest began."""
        since = self.facts.last_delivery
        since = self.facts.history_start if since is None else since
        return None if since is None else self.now - since

    @property
    def staleness(self) -> float | None:
        """The age of the last delivery divided by `stale_after`: above 1 it is late."""
        age, limit = self.delivery_age, self.facts.stale_after
        return None if age is None or not limit else age / limit

    @property
    def late(self) -> bool:
        """Whether the last delivery is older than `stale_after`."""
        ratio = self.staleness
        return ratio is not None and ratio > 1

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return bool(self.facts.running)

    @property
    def running_for(self) -> float | None:
        """Seconds since the oldest run under way began."""
        since = self.facts.running_since
        return None if since is None or not self.running else max(0.0, self.now - since)

    @property
    def hanging(self) -> bool:
        """Whether the oldest run under way takes far longer than is typical."""
        took, typical = self.running_for, self.facts.typical_duration
        if took is None:
            return False
        if typical is None:
            return took > HANGS_AFTER_WITHOUT_TYPICAL
        return took > max(HANGS_AFTER, HANGS_AFTER_TYPICAL * typical)

    @cached_property
    def concerns(self) -> Mapping[Concern, str]:
        """Why it needs attention, each in a sentence; empty if it needs none."""
        found: dict[Concern, str] = {}
        if self.late:
            found[Concern.LATE] = self._late_words()
        last = self.facts.last
        if last is not None and last.status in _RUN_CONCERNS:
            found[Concern(last.status.value)] = self._run_words(last)
        running = self.facts.running_job_status
        if running is not None and Concern.UNKNOWN not in found:
            found[Concern.UNKNOWN] = f"A run in progress {_has_unknown(running)}"
        if self.hanging:
            found[Concern.HANGING] = self._hanging_words()
        if self.up is False:
            found[Concern.UNREADABLE] = f"Its history cannot be read: {self.problem or 'unknown'}."
        if in_future(self.facts.watermark, self.now):
            found[Concern.WATERMARK] = self._watermark_words()
        return found

    @property
    def urgency(self) -> tuple[int, int, float]:
        """The key of the order by urgency: the greater, the more urgent."""
        worst = max((_URGENCY[concern] for concern in self.concerns), default=0)
        return worst, len(self.concerns), self.staleness or 0.0

    def _late_words(self) -> str:
        age = wording.duration(self.delivery_age or 0.0)
        limit = wording.duration(self.facts.stale_after or 0.0)
        if self.facts.last_delivery is None:
            return f"No delivery in the known {age}; late after {limit}."
        return f"No delivery for {age}; late after {limit}."

    def _run_words(self, last: Run) -> str:
        if last.status is Status.CONFIG_ERROR:
            return "Its configuration in Braze is wrong; correct it in Braze."
        if last.status is Status.ERROR:
            failures = self.facts.consecutive_failures or 1
            if failures > 1:
                return f"The last {wording.count(failures)} runs failed."
            return "The last run failed: no rows were synced."
        if last.status is Status.UNKNOWN:
            return self._unknown_words(last)
        failed = last.rows_failed
        if failed is None:
            return "Some rows of the last run failed."
        rows = wording.things(failed, "row")
        return f"{rows} of the last run failed and {'is' if failed == 1 else 'are'} not in Braze."

    def _unknown_words(self, last: Run) -> str:
        if last.job_status is None:
            words = "Braze reports no status for the last run."
        else:
            words = f"The last run {_has_unknown(last.job_status)}"
        failures = self.facts.consecutive_failures
        if not failures:
            return words
        runs = wording.things(failures, "run")
        return f"{words} {runs} failed since the last delivery."

    def _watermark_words(self) -> str:
        ahead = wording.duration((self.facts.watermark or 0.0) - self.now)
        return f"Its watermark is {ahead} in the future: Braze skips all older rows."

    def _hanging_words(self) -> str:
        took = wording.duration(self.running_for or 0.0)
        typical = self.facts.typical_duration
        usual = "" if typical is None else f"; it usually takes {wording.duration(typical)}"
        return f"A run has been in progress for {took}{usual}."


def _has_unknown(word: str) -> str:
    return f"has the status {word}, which this version does not know."


_RUN_CONCERNS = frozenset({Status.ERROR, Status.CONFIG_ERROR, Status.UNKNOWN, Status.PARTIAL})


@dataclass(frozen=True, slots=True)
class Trouble:
    """The failed requests of one kind among those remembered."""

    endpoint: str
    code: str
    times: int
    last_at: float


class WorkspaceStatus:
    """One workspace at the moment `now` (Unix seconds); `exchanges` is oldest first."""

    def __init__(
        self, snapshot: WorkspaceSnapshot, exchanges: Sequence[RequestRecord], now: float
    ) -> None:
        self.now = now
        self.name = snapshot.name
        self.error, self.problem = snapshot.error, snapshot.problem
        self.list_readable = snapshot.list_readable
        self.last_refresh = snapshot.last_refresh
        self.refresh_duration = snapshot.refresh_duration
        self.pending_reads = snapshot.pending_reads
        self.endpoints: tuple[EndpointSnapshot, ...] = snapshot.endpoints
        self.integrations = tuple(IntegrationStatus(each, now) for each in snapshot.integrations)
        self.exchanges = tuple(reversed(exchanges))
        """The requests remembered, newest first."""
        self.role = snapshot.role
        self._up = snapshot.up

    @cached_property
    def state(self) -> WorkspaceState:
        """How the workspace does."""
        if self._up is False:
            return WorkspaceState.FAILING
        if self._up is None:
            return WorkspaceState.STARTING if self.exchanges else WorkspaceState.WAITING
        quiet = self.quiet_for
        return WorkspaceState.SILENT if quiet is None or quiet > SILENT_AFTER else WorkspaceState.OK

    @property
    def quiet_for(self) -> float | None:
        """Seconds since the last complete refresh or request; None if there was neither."""
        known = [self.last_refresh] if self.last_refresh is not None else []
        newest = max(known + [each.at for each in self.exchanges[:1]], default=None)
        return None if newest is None else max(0.0, self.now - newest)

    @property
    def age(self) -> float | None:
        """Seconds since the last complete refresh."""
        return None if self.last_refresh is None else max(0.0, self.now - self.last_refresh)

    @property
    def advice(self) -> str | None:
        """What to do about the problem."""
        return None if self.error is None else BY_REASON.get(self.error, OTHER).advice

    @cached_property
    def troubles(self) -> tuple[Trouble, ...]:
        """The requests that failed among those remembered, by kind, newest first."""
        failed = [each for each in self.exchanges if each.code != SUCCEEDED]
        times = Counter((each.endpoint, each.code) for each in failed)
        newest: dict[tuple[str, str], float] = {}
        for each in failed:
            newest.setdefault((each.endpoint, each.code), each.at)
        return tuple(
            Trouble(endpoint, code, times[endpoint, code], at)
            for (endpoint, code), at in newest.items()
        )

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many integrations each filter finds, by its name."""
        return {name: sum(1 for each in self.integrations if shows(name, each)) for name in FILTERS}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The integrations' names by ID."""
        return {each.facts.id: each.facts.name for each in self.integrations}


FILTERS = (
    "all",
    "attention",
    "late",
    "hanging",
    "running",
    *(status.value for status in FINISHED_STATUSES),
    "none",
)
"""By what the integrations can be filtered; `none`: no finished run is known."""


def shows(name: str, integration: IntegrationStatus) -> bool:
    """Whether the filter of this name shows the integration."""
    match name:
        case "all":
            return True
        case "attention":
            return bool(integration.concerns)
        case "late" | "hanging" | "running":
            return bool(getattr(integration, name))
    last = integration.facts.last
    return (last.status.value if last else "none") == name


def failed_ratio(run: Run | None) -> float | None:
    """The part of a run's rows that failed, 0 to 1; None without rows, or if not known."""
    if run is None or run.rows_failed is None or run.rows_synced is None:
        return None
    rows = run.rows_failed + run.rows_synced
    return run.rows_failed / rows if rows else None
