"""A backfill of a simulated workspace in virtual time, and a naive evaluation of its files."""

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdi_exporter.backfill import (
    Backfill,
    BackfillOptions,
    Progress,
    open_spool,
    parse_moment,
)
from cdi_exporter.config import Settings, WorkspaceConfig
from cdi_exporter.model import DELIVERIES, FAILURES, FINISHED_STATUSES, Run, Status
from tests.harness import KEY, LABEL, workspace
from tests.simulation.direct import DirectTransport
from tests.simulator import HISTORY, LIMITS, LIST, Simulator
from tests.virtual import EPOCH, run, virtual_clock

SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+) (\d+)$", re.MULTILINE)
LABELS = (("job", "braze-cdi"), ("instance", "exporter:10234"))

Series = tuple[str, tuple[tuple[str, str], ...]]
Samples = dict[Series, dict[int, float]]


@dataclass
class Printed:
    """The output of a backfill."""

    lines: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)


def options(output: Path, **fields: object) -> BackfillOptions:
    """BackfillOptions for a day of history up to EPOCH, unless fields change it."""
    given: dict[str, object] = {
        "since": parse_moment("1d"),
        "until": parse_moment("0s"),
        "labels": LABELS,
        "force": True,
    }
    return BackfillOptions(output, **(given | fields))  # type: ignore[arg-type]


def backfill(
    chosen: BackfillOptions,
    *apps: Any,
    workspaces: Sequence[WorkspaceConfig] | None = None,
    later: float = 0.0,
    printed: Printed | None = None,
    progress: Progress | None = None,
) -> Printed:
    """Run a backfill of workspaces w0, w1 … at EPOCH, or this many seconds later.

    `apps` are the simulated Braze of each workspace.
    """
    printed = printed or Printed()
    configs = workspaces or [workspace(f"w{number}") for number in range(len(apps))]
    by_name = {config.name: each for config, each in zip(configs, apps, strict=True)}

    async def read(job: Backfill) -> bool:
        clock = virtual_clock(ahead=later)
        return await job.read(clock, lambda config: DirectTransport(by_name[config.name]))

    with open_spool(chosen.output) as spool:
        job = Backfill(
            Settings(tuple(configs)),
            chosen,
            spool,
            say=printed.lines.append,
            progress=progress or Progress(printed.progress.append, lambda: 0.0),
        )
        if run(read(job)):
            job.write()
    return printed


def simulated(*integrations: object, later: float = 0.0, **settings: object) -> Simulator:
    """A workspace whose clock is fixed at EPOCH, or this much later, and that responds at once."""
    fields: dict[str, object] = {
        "key": KEY,
        "retention": 90 * 86_400.0,
        "limits": {LIST: 100_000, HISTORY: 100_000},
        "clock": lambda: EPOCH + later,
    }
    return Simulator(integrations, **(fields | settings))  # type: ignore[arg-type]


def ticking(*integrations: object, **settings: object) -> Simulator:
    """A workspace with the documented limits, whose clock runs from EPOCH."""

    def clock() -> float:
        return EPOCH + asyncio.get_running_loop().time()

    fields: dict[str, object] = {"clock": clock, "limits": LIMITS, "latency": 0.1}
    return simulated(*integrations, **(fields | settings))  # type: ignore[arg-type]


FaultRule = Callable[[int, str], int | None]
"""Number and integration of a history request → the status of its response, or None to pass."""


def no_faults(number: int, integration_id: str) -> int | None:
    """No request fails."""
    return None


def of(identifier: str, status: int) -> FaultRule:
    """All requests for one integration fail."""

    def rule(number: int, integration_id: str) -> int | None:
        return status if integration_id == identifier else None

    return rule


def after(requests: int, status: int) -> FaultRule:
    """All requests after this number fail."""

    def rule(number: int, integration_id: str) -> int | None:
        return status if number > requests else None

    return rule


class FaultySimulator:
    """A workspace that responds to some history requests with the status from `rule`."""

    def __init__(self, app: Simulator, rule: FaultRule = no_faults) -> None:
        self._app, self._rule = app, rule
        self.requested: list[str] = []
        """The integrations of the history requests, in order."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond to a request."""
        parts = scope["path"].split("/")
        status = None
        if parts[-1] == HISTORY:
            self.requested.append(parts[-2])
            status = self._rule(len(self.requested), parts[-2])
        if status is None:
            await self._app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b'{"message": "no"}'})


def files(output: Path) -> list[Path]:
    """The day files, in the order of their days."""
    return sorted(output.glob("*.om"))


def samples(output: Path) -> Samples:
    """The samples of all files.

    prometheus_client is not used: its parser drops a summary's second sample at each time.
    """
    found: Samples = {}
    for path in files(output):
        for name, labels, value, time in SAMPLE.findall(path.read_text()):
            series = (name, tuple(sorted(LABEL.findall(labels))))
            times = found.setdefault(series, {})
            assert int(time) not in times
            assert not times or int(time) > next(reversed(times))
            times[int(time)] = float(value)
    return found


@dataclass(frozen=True)
class Naive:
    """The expected values for some runs, computed from all runs at each instant."""

    runs: Sequence[Run]
    first: int
    """The first instant of the range."""

    def shown(self, run: Run) -> float | None:
        """The time from which a run is shown as finished."""
        times = [time for time in (run.start, run.finish) if time is not None]
        return max(times) if run.finished else None

    def seen(self, run: Run) -> float:
        """The time from which a run is shown."""
        shown = self.shown(run)
        times = [time for time in (run.start, shown) if time is not None]
        return min(times)

    def finished(self, instant: float) -> list[Run]:
        """The finished runs, the newest last."""
        over = [run for run in self.runs if (at := self.shown(run)) is not None and at <= instant]
        return sorted(over, key=lambda run: run.order)

    def running(self, instant: float) -> list[float]:
        """The starts of the runs in progress."""
        return [
            run.start
            for run in self.runs
            if run.start is not None
            and run.start <= instant
            and ((at := self.shown(run)) is None or at > instant)
        ]

    def counted(self, instant: float) -> list[Run]:
        """The runs that ended since the first instant."""
        return [run for run in self.finished(instant) if (self.shown(run) or 0) > self.first]

    @staticmethod
    def newest(finished: Sequence[Run], statuses: Collection[Status]) -> float | None:
        """The latest finish of a run with one of these statuses."""
        return max(
            (run.finish for run in finished if run.status in statuses and run.finish is not None),
            default=None,
        )

    @staticmethod
    def failures(finished: Sequence[Run]) -> int:
        """Failed runs since the last delivery."""
        count = 0
        for each in reversed(finished):
            if each.status in DELIVERIES:
                break
            count += each.status in FAILURES
        return count

    def values(self, instant: float) -> dict[tuple[str, str], float]:
        """Values by name and status at an instant, except for typical values."""
        finished, counted = self.finished(instant), self.counted(instant)
        last = finished[-1] if finished else None
        durations = [run.duration for run in counted if run.duration is not None]
        found: dict[tuple[str, str], float | None] = {
            ("rows_synced_total", ""): sum(run.rows_synced or 0 for run in counted),
            ("rows_failed_total", ""): sum(run.rows_failed or 0 for run in counted),
            ("sync_duration_seconds_count", ""): len(durations),
            ("sync_duration_seconds_sum", ""): sum(durations),
            ("syncs_running", ""): len(self.running(instant)),
            ("running_sync_start_timestamp_seconds", ""): min(self.running(instant), default=None),
            ("watermark_timestamp_seconds", ""): next(
                (run.watermark for run in reversed(finished) if run.watermark is not None), None
            ),
            ("last_success_timestamp_seconds", ""): self.newest(finished, {Status.SUCCESS}),
            ("last_delivery_timestamp_seconds", ""): self.newest(finished, DELIVERIES),
            ("consecutive_failures", ""): self.failures(finished),
        }
        for status in FINISHED_STATUSES:
            of_status = [run for run in counted if run.status is status]
            found["syncs_total", status.value] = len(of_status)
            found["last_sync_status", status.value] = float(last.status is status) if last else None
        if last is not None:
            found["last_sync_rows_synced", ""] = last.rows_synced
            found["last_sync_rows_failed", ""] = last.rows_failed
            found["last_sync_duration_seconds", ""] = last.duration
            found["last_sync_start_timestamp_seconds", ""] = last.start
            found["last_sync_finish_timestamp_seconds", ""] = last.finish
        return {key: value for key, value in found.items() if value is not None}


def at(found: Samples, instant: int, **labels: str) -> dict[tuple[str, str], float]:
    """Values by name and status of the samples at an instant that carry these labels."""
    values = {}
    for (name, carried), times in found.items():
        if instant in times and labels.items() <= dict(carried).items():
            status = dict(carried).get("status", "")
            values[name.removeprefix("braze_cdi_"), status] = times[instant]
    return values
