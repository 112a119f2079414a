"""One backfill, from the list to the day files, and what it prints."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from cdi_exporter.backfill.day_files import (
    DAY_FILES,
    FAMILIES,
    Lines,
    day_file,
    day_parts,
    remove_days,
    write_day,
)
from cdi_exporter.backfill.plan import (
    LOOKBACK,
    TOO_NEW,
    BackfillOptions,
    Grid,
    counted,
    fingerprint,
    grid_of,
    is_too_new,
    rough_duration,
    rough_size,
    utc,
)
from cdi_exporter.backfill.progress import Progress
from cdi_exporter.backfill.reading import Reading, choose, listed
from cdi_exporter.backfill.sampling import PastState, states
from cdi_exporter.backfill.spool import Chosen, Plan, Spool
from cdi_exporter.braze.client import Client
from cdi_exporter.clients import TransportFor, clients_for
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings, format_duration
from cdi_exporter.errors import StartError

SHARE = 0.5
"""Part of `rate_limit_share` that backfill uses: the running exporter needs the other half."""

Say = Callable[[str], object]
Item = TypeVar("Item")


class Backfill:
    """One backfill: call `read`, then `write`."""

    def __init__(
        self,
        settings: Settings,
        options: BackfillOptions,
        spool: Spool,
        *,
        say: Say,
        progress: Progress,
    ) -> None:
        self._settings, self._options = settings, options
        self._spool, self._say, self._progress = spool, say, progress
        self._configs = {config.name: config for config in settings.workspaces}

    async def read(self, clock: Clock, transport: TransportFor | None = None) -> bool:
        """Read what is missing; return False if there is nothing to write.

        Raises ConfigError for an invalid range, StartError for any other failure.
        """
        plan, resumed = self._plan(clock.wall())
        if plan.done:
            self._say(f"everything is already written: {self._spool.output}")
            return False
        async with clients_for(self._settings.workspaces, clock, transport, part=SHARE) as clients:
            chosen = await self._chosen(plan, clients, clock, resumed=resumed)
            progress = self._progress
            reading = Reading(self._spool, plan.grid, chosen, clients, clock, progress=progress)
            await reading.first_pages()
            self._print_estimate(plan, reading)
            if self._options.dry_run:
                self._fail_if_skipped(reading.skipped)
                return False
            await reading.rest()
            for each, reason in reading.skipped.items():
                self._spool.skip(each, reason)
        return True

    def _plan(self, now: float) -> tuple[Plan, bool]:
        """The plan of the job, and whether it is resumed."""
        self._options.check(now)
        job = fingerprint(self._settings, self._options)
        earlier = self._spool.plan()
        if earlier is not None and earlier.fingerprint == job:
            if not earlier.done:
                return earlier, True
            same = earlier.grid == grid_of(self._options, now) and not self._skipped()
            if same and all(
                day_file(self._spool.output, day).exists() for day in self._spool.files()
            ):
                return earlier, True
        return Plan(job, now, grid_of(self._options, now)), False

    async def _chosen(
        self, plan: Plan, clients: Mapping[str, Client], clock: Clock, *, resumed: bool
    ) -> list[Chosen]:
        """The integrations of the resumed job, or of the current list."""
        if resumed:
            self._say(f"resuming what was started at {utc(plan.now)}")
            return [each for each in self._spool.chosen() if each.skipped is None]
        configs = self._settings.workspaces
        self._say(f"listing the integrations of {counted(len(configs), 'workspace')}")
        lists = {each.name: await listed(each, clients[each.name], clock) for each in configs}
        chosen = choose(configs, lists, self._options.include, self._spool.histories)
        if not chosen:
            msg = "there are no integrations to read"
            raise StartError(msg)
        found = counted(len(chosen), "integration")
        self._say(f"{found}; reading the newest page of each for the estimate")
        if not self._options.dry_run:
            removed = remove_days(self._spool.output)
            if removed:
                self._say(f"{counted(removed, 'file')} of an earlier job removed")
            self._spool.start(plan, chosen)
        return chosen

    # The estimate

    def _print_estimate(self, plan: Plan, reading: Reading) -> None:
        grid, left = plan.grid, {each: reading.estimate(each) for each in reading.readable}
        days, step = sum(1 for _ in grid.days()), format_duration(grid.step)
        self._say(
            f"{utc(grid.first)} to {utc(grid.last)}, one sample every {step}:"
            f" {counted(len(grid), 'instant')}"
        )
        requests, seconds = counted(sum(left.values()), "request"), reading.seconds(left)
        self._say(f"about {requests} left, {rough_duration(seconds)} at half of the budget share")
        size = rough_size(sum(self._size(plan, each) for each in reading.readable))
        files = counted(days, "file")
        self._say(f"about {size} of OpenMetrics text in at most {files} in {self._spool.output}")
        if grid.step > LOOKBACK:
            why = "because Prometheus looks back 5 minutes"
            self._say(f"note: a step of {step} leaves gaps, {why}")
        for name in sorted({"job", "instance"} - dict(self._options.labels).keys()):
            self._say(f"note: without --label {name}=... the series differ from the scraped ones")
        if is_too_new(grid, plan.now):
            self._say(f"WARNING: {TOO_NEW}")

    def _size(self, plan: Plan, chosen: Chosen) -> float:
        """The estimated bytes of one integration: every line is taken to be as long as now."""
        grid, histories = plan.grid, self._spool.histories
        extent = histories.extent(chosen.source)
        if extent is None:
            return 0.0
        _, oldest, _ = extent
        spans = histories.spans(chosen.source)
        whole = bool(spans) and spans[-1].ended
        first = max(grid.first, grid.at_or_after(oldest) - grid.step) if whole else grid.first
        now = grid.after(plan.now)
        lines, past = self._lines(chosen), self._states(chosen, Grid(now, now, grid.step))
        segments = [(range(instant, instant + 1), facts) for instant, facts in past]
        a_line_each = sum(len(lines.of_family(each, segments)[1]) for each in FAMILIES)
        return a_line_each * len(Grid(first, grid.last, grid.step))

    # Writing

    def write(self) -> None:
        """Make the parts, then the day files. Raises StartError if integrations are left out."""
        plan = self._spool.plan()
        if plan is None:
            return
        spool, days = self._spool, [*plan.grid.days()]

        def sample(each: Chosen) -> None:
            past = self._states(each, plan.grid)
            spool.keep_parts(each, day_parts(self._lines(each), past, days))

        def write(day: str) -> None:
            spool.keep_file(day, *write_day(spool.output, day, spool.parts(day)))

        unsampled = [each for each in spool.chosen() if each.skipped is None and not each.sampled]
        self._each("sampling", unsampled, sample)
        self._each("writing", spool.unwritten(), write)
        spool.finish()
        self._print_summary()
        self._fail_if_skipped(self._skipped())

    def _each(self, stage: str, todo: Sequence[Item], do: Callable[[Item], None]) -> None:
        """Call `do` with each item, and report the progress."""
        self._progress.start(stage, len(todo))
        try:
            for done, each in enumerate(todo, 1):
                do(each)
                self._progress.at(done, len(todo))
        finally:
            self._progress.end()

    def _print_summary(self) -> None:
        output, files = self._spool.output, self._spool.files()
        samples = counted(sum(samples for samples, _ in files.values()), "sample")
        size = rough_size(sum(size for _, size in files.values()))
        self._say(f"{samples}, {size}, in {counted(len(files), 'file')} in {output}")
        unplaced = self._spool.unplaced()
        if unplaced:
            self._say(f"skipped: {counted(unplaced, 'row')} without a readable time")
        if files:
            pattern = f"{shlex.quote(str(output))}/{DAY_FILES}"
            make = 'promtool tsdb create-blocks-from openmetrics "$file" BLOCKS || exit'
            self._say(f"next: (for file in {pattern}; do {make}; done) && mv BLOCKS/* DATA/")
            self._say("DATA: Prometheus' --storage.tsdb.path; BLOCKS: a new folder next to it")

    def _lines(self, chosen: Chosen) -> Lines:
        return Lines(chosen.workspace, dict(self._options.labels))

    def _skipped(self) -> dict[Chosen, str]:
        return {each: each.skipped for each in self._spool.chosen() if each.skipped}

    def _states(self, chosen: Chosen, grid: Grid) -> Iterator[PastState]:
        config = self._configs[chosen.workspace]
        stale_after = config.stale_after_for(chosen.id, chosen.name)
        return states(chosen, self._spool.histories, grid, stale_after)

    def _fail_if_skipped(self, skipped: Mapping[Chosen, str]) -> None:
        if skipped:
            reasons = "; ".join(f"{each.name!r} ({reason})" for each, reason in skipped.items())
            msg = f"{counted(len(skipped), 'integration')} skipped: {reasons}"
            raise StartError(msg)
