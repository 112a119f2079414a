"""Generated integrations that come, go, are renamed or lose their schedule on the way."""

import math
from dataclasses import dataclass

from cdi_exporter.simulator.spec import IntegrationSpec


@dataclass(slots=True)
class ChangingSpec(IntegrationSpec):
    """A generated integration and what happens to it. Times are Unix seconds."""

    added_at: float = -math.inf
    removed_at: float = math.inf
    renames: tuple[tuple[float, str], ...] = ()
    """From when on the integration has another name, oldest first."""
    unscheduled: tuple[float, float] | None = None
    """From when until when the list shows no next scheduled run, though runs go on."""
