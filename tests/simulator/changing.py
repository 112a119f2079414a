"""Generated integrations that come, go, are renamed or lose their schedule on the way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.simulated_run import SECOND, SimulatedRun, micros
from cdi_exporter.simulator.spec import IntegrationSpec


@dataclass(frozen=True, slots=True)
class ChangingSpec(IntegrationSpec):
    """A generated integration and what happens to it. Times are Unix seconds."""

    added_at: float = -math.inf
    removed_at: float = math.inf
    renames: tuple[tuple[float, str], ...] = ()
    """From when on the integration has another name, oldest first."""
    unscheduled: tuple[float, float] | None = None
    """From when until when the list shows no next scheduled run, though runs go on."""


@dataclass(slots=True, eq=False)
class ChangingIntegration(GeneratedIntegration):
    """The runs of such an integration: none before it is added or after it is removed."""

    spec: ChangingSpec

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        until = min(until, _bounded_micros(self.spec.removed_at))
        since = max(since, _bounded_micros(self.spec.added_at) - 1)
        return GeneratedIntegration.history(self, until, since, skip)

    def next_scheduled(self, moment: int) -> int | None:
        since, until = self.spec.unscheduled or (math.inf, math.inf)
        if since * SECOND <= moment < until * SECOND:
            return None
        return GeneratedIntegration.next_scheduled(self, moment)

    def next_event(self, moment: int) -> int:
        edges = [micros(edge) for edge in self.spec.unscheduled or ()]
        later = [edge for edge in edges if edge > moment]
        return min([GeneratedIntegration.next_event(self, moment), *later])


def _bounded_micros(moment: float) -> int:
    """Microseconds; the moment may be infinite."""
    return micros(max(-1e12, min(1e12, moment)))
