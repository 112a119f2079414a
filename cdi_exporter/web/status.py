"""The status of workspaces and integrations at one moment, for the status page and its JSON.

Ages and states are computed here, because they change with the clock while the facts do not.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from cdi_exporter import wording
from cdi_exporter.model import FINISHED_STATUSES, RequestRecord, Run, Status, in_future
from cdi_exporter.problems import BY_REASON, OTHER
from cdi_exporter.snapshot import IntegrationSnapshot, WorkspaceSnapshot

SILENT_AFTER = 600.0
"""Seconds without a refresh or a request after which a workspace counts as not scraped: ten times
the usual scrape interval."""

STUCK_AFTER_TYPICAL = 3
"""A run is stuck after this many typical durations, but not before `STUCK_AFTER`: syncs of the same
integration vary by a factor of two."""

STUCK_AFTER = 3_600.0
"""Seconds before which no run counts as stuck, as in the alert BrazeCDISyncStuck."""

STUCK_AFTER_WITHOUT_TYPICAL = 6 * 3_600.0
"""Seconds after which a run is stuck if no typical duration is known, as in the alert."""

SUCCEEDED = "200"

WorkspaceState = Literal["waiting", "starting", "ok", "silent", "failing"]
"""The state of one workspace. `waiting`: it was never scraped; `starting`: the first refresh is in
progress; `silent`: it could be read, but was not scraped for a while."""

CONCERNS = (
    "late",
    "config_error",
    "error",
    "hanging",
    "unreadable",
    "watermark",
    "unknown",
    "partial",
)
"""Why an integration may need attention, the most urgent first. Those that come from the status of
the last run have the name of that status."""


class IntegrationStatus:
    """One integration at the moment `now` (Unix seconds)."""

    def __init__(self, shown: IntegrationSnapshot, now: float) -> None:
        self.shown, self.facts, self.now = shown, shown.facts, now
        facts, last = shown.facts, shown.facts.last
        self.last_at = last and (last.start if last.finish is None else last.finish)
        """When the newest finished run ended or, if that is not known, started."""
        self.success_age = self._age(facts.last_success)
        """Seconds since the last success."""
        self.delivery_age = age = self._age(facts.last_delivery)
        """Seconds since the last success or partial run."""
        limit = facts.stale_after
        self.staleness = None if age is None or not limit else age / limit
        """The age of the last delivery divided by `stale_after`: above 1 it is late."""
        self.late = self.staleness is not None and self.staleness > 1
        self.running = bool(facts.running)
        since = facts.running_since
        self.running_for = None if since is None or not self.running else max(0.0, now - since)
        """Seconds since the oldest run in progress started."""
        self.hanging = self.running_for is not None and self.running_for > self._stuck_after()

    def _age(self, since: float | None) -> float | None:
        """Seconds since a time or, if there is none, since the start of the oldest known run."""
        since = self.facts.history_start if since is None else since
        return None if since is None else self.now - since

    def _stuck_after(self) -> float:
        typical = self.facts.typical_duration
        if typical is None:
            return STUCK_AFTER_WITHOUT_TYPICAL
        return max(STUCK_AFTER, STUCK_AFTER_TYPICAL * typical)

    @cached_property
    def concerns(self) -> Mapping[str, str]:
        """Why it needs attention: `CONCERNS`, each with a sentence; empty if it needs none."""
        facts, last = self.facts, self.facts.last
        found: dict[str, str] = {}
        if self.late:
            age = wording.duration(self.delivery_age or 0.0)
            since = f"in the known {age}" if facts.last_delivery is None else f"for {age}"
            limit = wording.duration(facts.stale_after or 0.0)
            found["late"] = f"No delivery {since}; late after {limit}."
        if last is not None and last.status.value in CONCERNS:
            found[last.status.value] = self._run_words(last)
        if facts.running_job_status is not None and "unknown" not in found:
            found["unknown"] = f"A run in progress {_has_unknown(facts.running_job_status)}"
        if self.hanging:
            took, typical = wording.duration(self.running_for or 0.0), facts.typical_duration
            usual = "" if typical is None else f"; it usually takes {wording.duration(typical)}"
            found["hanging"] = f"A run has been in progress for {took}{usual}."
        if self.shown.up is False:
            problem = self.shown.problem or "unknown"
            found["unreadable"] = f"Its history cannot be read: {problem}."
        if facts.watermark is not None and in_future(facts.watermark, self.now):
            ahead = wording.duration(facts.watermark - self.now)
            found["watermark"] = (
                f"Its watermark is {ahead} in the future: Braze skips all older rows."
            )
        return found

    def _run_words(self, last: Run) -> str:
        failures, failed = self.facts.consecutive_failures or 0, last.rows_failed
        match last.status:
            case Status.CONFIG_ERROR:
                return "Its configuration in Braze is wrong; correct it in Braze."
            case Status.ERROR if failures > 1:
                return f"The last {wording.count(failures)} runs failed."
            case Status.ERROR:
                return "The last run failed: no rows were synced."
            case Status.PARTIAL if failed is not None:
                rows, verb = wording.things(failed, "row"), "is" if failed == 1 else "are"
                return f"{rows} of the last run failed and {verb} not in Braze."
            case Status.PARTIAL:
                return "Some rows of the last run failed."
        words = "Braze reports no status for the last run."
        if last.job_status is not None:
            words = f"The last run {_has_unknown(last.job_status)}"
        if failures:
            words += f" {wording.things(failures, 'run')} failed since the last delivery."
        return words

    @property
    def urgency(self) -> tuple[int, int, float]:
        """The sort key of the urgency; the greatest is the most urgent."""
        worst = max((len(CONCERNS) - CONCERNS.index(each) for each in self.concerns), default=0)
        return worst, len(self.concerns), self.staleness or 0.0


def _has_unknown(word: str) -> str:
    return f"has the status {word}, which this version does not know."


class WorkspaceStatus:
    """One workspace at the moment `now` (Unix seconds); `exchanges` is oldest first."""

    def __init__(
        self, snapshot: WorkspaceSnapshot, exchanges: Sequence[RequestRecord], now: float
    ) -> None:
        self.snapshot = snapshot
        self.integrations = tuple(IntegrationStatus(each, now) for each in snapshot.integrations)
        self.exchanges = tuple(reversed(exchanges))
        """The remembered requests, newest first."""
        self.names = {each.facts.id: each.facts.name for each in self.integrations}
        """The integrations' names by ID."""
        self.counts = {name: sum(shows(name, row) for row in self.integrations) for name in FILTERS}
        """The number of integrations that each filter shows, by the filter's name."""
        refreshed = snapshot.last_refresh
        self.age = None if refreshed is None else max(0.0, now - refreshed)
        """Seconds since the last complete refresh."""
        ages = [max(0.0, now - each.at) for each in self.exchanges[:1]]
        ages += [] if self.age is None else [self.age]
        self.quiet_for = min(ages, default=None)
        """Seconds since the last complete refresh or request; None if there was neither."""
        error = snapshot.error
        self.advice = None if error is None else BY_REASON.get(error, OTHER).advice
        """What to do about the problem."""

    @cached_property
    def state(self) -> WorkspaceState:
        """The state of the workspace."""
        if self.snapshot.up is False:
            return "failing"
        if self.snapshot.up is None:
            return "starting" if self.exchanges else "waiting"
        return "silent" if self.quiet_for is None or self.quiet_for > SILENT_AFTER else "ok"

    @cached_property
    def troubles(self) -> Sequence[tuple[RequestRecord, int]]:
        """The newest failed request of each endpoint and code, and how many there are."""
        kinds: dict[tuple[str, str], list[RequestRecord]] = {}
        for each in self.exchanges:
            if each.code != SUCCEEDED:
                kinds.setdefault((each.endpoint, each.code), []).append(each)
        return [(failed[0], len(failed)) for failed in kinds.values()]


FILTERS = (
    "all",
    "attention",
    "late",
    "hanging",
    "running",
    *(status.value for status in FINISHED_STATUSES),
    "none",
)
"""The filters of the status page; `none`: no finished run is known."""


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
