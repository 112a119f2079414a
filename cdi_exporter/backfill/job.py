"""One backfill, from the list to the day files; what it says on the way."""

from collections.abc import Callable, Mapping, Sequence

from cdi_exporter.backfill.files import day_file, remove_days, write_day
from cdi_exporter.backfill.lines import FAMILIES, Lines, pieces
from cdi_exporter.backfill.listing import choose, listed
from cdi_exporter.backfill.plan import (
    LOOKBACK,
    Grid,
    Options,
    fingerprint,
    grid_of,
    rough_duration,
    rough_size,
    utc,
)
from cdi_exporter.backfill.progress import Progress
from cdi_exporter.backfill.reading import Reading
from cdi_exporter.backfill.sampling import states
from cdi_exporter.backfill.spool import Chosen, Plan, Spool
from cdi_exporter.braze.client import Client, Clock
from cdi_exporter.clients import TransportFor, clients_for, over_the_network
from cdi_exporter.config import Settings, StaleAfter, format_duration
from cdi_exporter.errors import StartError

SHARE = 0.5
"""Of the exporter's own share of the limits, so that both may run at the same time."""

Say = Callable[[str], object]


class Backfill:
    """One job: `read`, then `write`."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        spool: Spool,
        *,
        say: Say,
        progress: Progress,
    ) -> None:
        self._settings, self._options = settings, options
        self._spool, self._say, self._progress = spool, say, progress
        self._configs = {config.name: config for config in settings.workspaces}

    async def read(self, clock: Clock, transport: TransportFor = over_the_network) -> bool:
        """Read what is missing; False where nothing is to be written after it.

        Raises ConfigError for a range that is none, StartError with the reason for the rest.
        """
        plan, resumed = self._plan(clock.wall())
        if plan.done:
            self._say(f"all is written already: {self._spool.output}")
            return False
        clients = clients_for(self._settings.workspaces, clock, transport, part=SHARE)
        try:
            reading = Reading(self._spool, plan.grid, clients, clock, self._progress)
            chosen = await self._chosen(plan, clients, clock, resumed=resumed)
            await reading.first_pages(chosen)
            self._tell(plan, reading, [each for each in chosen if each not in reading.skipped])
            if self._options.dry_run:
                self._complain(reading.skipped)
                return False
            await reading.rest(chosen)
            for each, reason in reading.skipped.items():
                self._spool.skip(each, reason)
        finally:
            for client in set(clients.values()):
                await client.aclose()
        return True

    def _plan(self, now: float) -> tuple[Plan, bool]:
        """The job to do, and whether it was begun before."""
        self._options.check()
        mark = fingerprint(self._settings, self._options)
        begun = self._spool.plan()
        if begun is not None and begun.fingerprint == mark:
            if not begun.done:
                return begun, True
            output, days = self._spool.output, self._spool.files()
            same = begun.grid == grid_of(self._options, now)
            if same and all(day_file(output, day).exists() for day in days):
                return begun, True
        return Plan(mark, now, grid_of(self._options, now)), False

    async def _chosen(
        self, plan: Plan, clients: Mapping[str, Client], clock: Clock, *, resumed: bool
    ) -> list[Chosen]:
        """The integrations: of the job that was begun before, or as the list has them now."""
        if resumed:
            self._say(f"going on with what was begun at {utc(plan.now)}")
            return [each for each in self._spool.chosen() if each.skipped is None]
        configs = self._settings.workspaces
        lists = {each.name: await listed(each, clients[each.name], clock) for each in configs}
        chosen = choose(configs, lists, self._options.include, self._spool.histories)
        if not chosen:
            msg = "there is no integration to read"
            raise StartError(msg)
        if not self._options.dry_run:
            remove_days(self._spool.output, self._spool.files())
            self._spool.begin(plan, chosen)
        return chosen

    # What it comes to

    def _tell(self, plan: Plan, reading: Reading, chosen: Sequence[Chosen]) -> None:
        grid, left = plan.grid, reading.left(chosen)
        days, step = sum(1 for _ in grid.days()), format_duration(grid.step)
        seconds = rough_duration(reading.seconds(left))
        self._say(f"{len(chosen)} integrations in {len(self._configs)} workspaces")
        self._say(
            f"{utc(grid.first)} to {utc(grid.last)}, a sample each {step}: {len(grid)} instants"
        )
        self._say(
            f"about {sum(left.values())} requests are left, {seconds} at half of the budget share"
        )
        size = rough_size(sum(self._size(grid, each) for each in chosen))
        self._say(f"about {size} of OpenMetrics text in {days} files in {self._spool.output}")
        if grid.step > LOOKBACK:
            self._say(f"a step of {step} leaves holes: Prometheus looks back for 5 minutes")
        missing = {"job", "instance"} - dict(self._options.labels).keys()
        for name in sorted(missing):
            self._say(f"no --label {name}=...: the series will not be those that are scraped")

    def _size(self, grid: Grid, chosen: Chosen) -> float:
        """About how many bytes the lines of one integration take."""
        histories = self._spool.histories
        extent = histories.extent(chosen.source)
        if extent is None:
            return 0.0
        reaches = histories.reaches(chosen.source)
        whole = bool(reaches) and reaches[-1].ended
        first = max(grid.first, grid.before(extent.oldest)) if whole else grid.first
        last = Grid(grid.last, grid.last, grid.step)
        now = [*states(chosen, histories, last, self._stale_after(chosen))]
        if not now:
            return 0.0
        lines = Lines(chosen.workspace, dict(self._options.labels))
        segment = (range(last.first, last.first + 1), now[-1].facts)
        a_line_each = sum(len(lines.of_family(each, [segment])[1]) for each in FAMILIES)
        return a_line_each * len(Grid(first, grid.last, grid.step))

    # Writing

    def write(self) -> None:
        """Make the pieces, then the day files. Raises StartError where some are left out."""
        plan = self._spool.plan()
        if plan is None:
            return
        self._sample(plan.grid)
        self._write_days(plan.grid)
        self._spool.finish()
        files = self._spool.files()
        samples = sum(samples for samples, _ in files.values())
        size = rough_size(sum(size for _, size in files.values()))
        self._say(f"{samples} samples, {size}, in {len(files)} files: {self._spool.output}")
        unplaced = self._spool.unplaced()
        if unplaced:
            self._say(f"{unplaced} rows that could not be read, or have no time, are left out")
        self._complain({each: each.skipped for each in self._spool.chosen() if each.skipped})

    def _sample(self, grid: Grid) -> None:
        todo = self._spool.unsampled()
        days = [*grid.days()]
        self._progress.begin("sampling", len(todo))
        try:
            for done, each in enumerate(todo, 1):
                past = states(each, self._spool.histories, grid, self._stale_after(each))
                lines = Lines(each.workspace, dict(self._options.labels))
                self._spool.keep_pieces(each, pieces(lines, past, days))
                self._progress.at(done, len(todo))
        finally:
            self._progress.end()

    def _write_days(self, grid: Grid) -> None:
        written = self._spool.files()
        todo = [day for day in grid.days() if day.name not in written]
        self._progress.begin("writing", len(todo))
        try:
            for done, day in enumerate(todo, 1):
                found = write_day(self._spool.output, day.name, self._spool.pieces(day.name))
                self._spool.keep_file(day.name, found.samples, found.size)
                self._progress.at(done, len(todo))
        finally:
            self._progress.end()

    def _stale_after(self, chosen: Chosen) -> StaleAfter | None:
        return self._configs[chosen.workspace].stale_after_for(chosen.id, chosen.name)

    def _complain(self, skipped: Mapping[Chosen, str]) -> None:
        if skipped:
            told = "; ".join(f"{each.name} ({reason})" for each, reason in skipped.items())
            msg = f"{len(skipped)} integrations are left out: {told}"
            raise StartError(msg)
