"""The real state of the simulated workspace, without the API in between."""

import itertools
from dataclasses import dataclass, field

from cdi_exporter.model import Counters, Integration, Run, Status
from cdi_exporter.simulator.generated import BLOCK, SLOWNESS
from cdi_exporter.simulator.simulated_run import (
    SECOND,
    WATERMARK_SEARCH,
    SimulatedRun,
    micros,
    newest_watermark,
)
from cdi_exporter.simulator.spec import IntegrationSpec, Profile
from tests.simulator.members import ChangingMember, Members
from tests.simulator.script import ScriptedIntegration

UNBOUNDED = 1e12
"""The maximum duration of a run that a test defines: effectively unlimited."""


def known_status(text: str) -> Status:
    """The status for this value of the API."""
    try:
        return Status(text.lower())
    except ValueError:
        return Status.UNKNOWN


def run_state(run: SimulatedRun, moment: int) -> Run:
    """The real state of a run at this moment."""
    start = run.start / SECOND
    if run.finish is None or run.finish > moment:
        return Run(Status.RUNNING, start=start)
    status = known_status(run.status)
    return Run(
        status,
        start=start,
        finish=run.finish / SECOND,
        watermark=None if run.watermark is None else run.watermark / SECOND,
        rows_synced=run.rows_synced,
        rows_failed=run.rows_failed,
        job_status=run.status if status is Status.UNKNOWN else None,
    )


def longest_run(spec: IntegrationSpec) -> float:
    """The maximum duration of the integration's runs in seconds."""
    if isinstance(spec, ScriptedIntegration):
        return UNBOUNDED
    if spec.profile is Profile.STUCK:
        trouble = BLOCK * spec.pace if spec.episode is None else spec.episode.length
        return max(spec.longest, trouble)
    return spec.longest * (SLOWNESS if spec.profile is Profile.SLOW else 1)


@dataclass(frozen=True, slots=True)
class Truth:
    """The real state at any moment, from the same source as the API's pages.

    Times are Unix seconds. Lags, faults and `overrides` have no effect on it.
    """

    members: Members
    retention: float

    def integrations_at(self, moment: float) -> tuple[Integration, ...]:
        """The integrations of the workspace, in the order of the list."""
        return tuple(
            self._integration(member, moment) for member in self.members.at(moment).values()
        )

    def finished_runs(self, integration_id: str, since: float, until: float) -> tuple[Run, ...]:
        """The runs that finish in (since, until], in the order of their finish."""
        found = self._finished(integration_id, since, until)
        return tuple(run_state(run, micros(until)) for run in found)

    def run_states_at(self, integration_id: str, moment: float) -> tuple[Run, ...]:
        """All runs within the retention in their state at this moment, newest start first."""
        member = self.members.known(integration_id)
        runs = member.history(micros(moment), micros(moment - self.retention))
        return tuple(run_state(run, micros(moment)) for run in runs)

    def totals(self, integration_id: str, since: float, until: float) -> Counters:
        """Runs by status, rows and durations of the runs that finish in (since, until]."""
        tally = _Tally()
        for run in self._finished(integration_id, since, until):
            tally.add(run)
        return tally.counters()

    def _finished(self, integration_id: str, since: float, until: float) -> list[SimulatedRun]:
        member = self.members.known(integration_id)
        first, last = micros(since), micros(until)
        runs = member.history(last, micros(since - longest_run(member.spec)))
        found = [run for run in runs if run.finish is not None and first < run.finish <= last]
        return sorted(found, key=lambda run: (run.finish or 0, run.start))

    def _integration(self, member: ChangingMember, moment: float) -> Integration:
        now, spec = micros(moment), member.spec
        runs = member.history(now, micros(moment - self.retention))
        recent = list(itertools.islice(runs, WATERMARK_SEARCH))
        last, left = recent[0] if recent else None, newest_watermark(recent, now)
        due = member.next_scheduled(now)
        return Integration(
            id=spec.id,
            name=member.name_at(moment),
            type=spec.type,
            status=spec.status,
            warehouse=spec.warehouse,
            last_updated=None if left is None else left / SECOND,
            last_job_start=None if last is None else last.start / SECOND,
            last_job_status=None if last is None else run_state(last, now).status,
            next_scheduled_run=None if due is None else due / SECOND,
            last_job_word=None if last is None else run_state(last, now).job_status,
        )


@dataclass(slots=True)
class _Tally:
    """Counters while runs are added."""

    statuses: dict[str, int] = field(default_factory=dict)
    rows_synced: int = 0
    rows_failed: int = 0
    duration: int = 0
    durations: int = 0

    def add(self, run: SimulatedRun) -> None:
        status = known_status(run.status).value
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.rows_synced += run.rows_synced or 0
        self.rows_failed += run.rows_failed or 0
        if run.finish is not None and run.finish >= run.start:
            self.duration += run.finish - run.start
            self.durations += 1

    def counters(self) -> Counters:
        return Counters(
            **self.statuses,
            rows_synced=self.rows_synced,
            rows_failed=self.rows_failed,
            duration_sum=self.duration / SECOND,
            duration_count=self.durations,
        )
