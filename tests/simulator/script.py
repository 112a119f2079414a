"""An integration whose runs a test defines, also while the simulator is in use."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from cdi_exporter.simulator.simulated_run import SimulatedRun, micros
from cdi_exporter.simulator.spec import IntegrationSpec


@dataclass(slots=True, eq=False)
class ScriptedRun(SimulatedRun):
    """A run that a test defines.

    `overrides` replaces fields of the JSON item, to simulate errors of Braze. A value of `...`
    omits the field. The truth ignores overrides.
    """

    overrides: Mapping[str, object] = field(default_factory=dict)

    def end(
        self,
        finish: float,
        status: str = "success",
        *,
        rows_synced: int | None = 0,
        rows_failed: int | None = 0,
        watermark: float | None = None,
    ) -> None:
        """End the run at `finish` (Unix seconds), or report it again with other numbers."""
        self.finish = micros(finish)
        self.status = status
        self.rows_synced = rows_synced
        self.rows_failed = rows_failed
        self.watermark = None if watermark is None else micros(watermark)
        self._item = None

    def _dump(self, item: Mapping[str, object]) -> bytes:
        merged = {**item, **self.overrides}
        kept = {name: value for name, value in merged.items() if value is not ...}
        return json.dumps(kept).encode()


@dataclass(slots=True, eq=False)
class ScriptedIntegration(IntegrationSpec):
    """One integration with an explicit list of runs, which can be changed at any time.

    `next_run` (Unix seconds) is the next scheduled run in the list, or None if there is no
    schedule. `list_fields` replaces fields of the JSON item in the list of integrations. A value of
    `...` omits the field. Of runs with the same start, the last one added comes first.
    """

    next_run: float | None = None
    runs: list[ScriptedRun] = field(default_factory=list)
    list_fields: Mapping[str, object] = field(default_factory=dict)

    def run(
        self,
        start: float,
        finish: float | None = None,
        status: str = "success",
        *,
        rows_synced: int | None = 0,
        rows_failed: int | None = 0,
        watermark: float | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> ScriptedRun:
        """Add a run (times in Unix seconds).

        Without a finish, it is in progress until its `end()`.
        """
        added = ScriptedRun(micros(start), overrides=overrides or {})
        if finish is not None:
            added.end(
                finish,
                status,
                rows_synced=rows_synced,
                rows_failed=rows_failed,
                watermark=watermark,
            )
        self.runs.append(added)
        return added

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        """Runs that start after `since` and no later than `until`, newest start first."""
        oldest_first = sorted(self.runs, key=attrgetter("start"))
        shown = (run for run in reversed(oldest_first) if since < run.start <= until)
        return itertools.islice(shown, skip, None)

    def next_scheduled(self, moment: int) -> int | None:
        """The scheduled run from the script, whatever the moment is."""
        return None if self.next_run is None else micros(self.next_run)
