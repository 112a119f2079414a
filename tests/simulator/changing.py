"""Generated integrations that appear, disappear, are renamed or lose their schedule over time."""

import math
from dataclasses import dataclass

from cdi_exporter.simulator.spec import IntegrationSpec


@dataclass(slots=True)
class ChangingSpec(IntegrationSpec):
    """A generated integration and its changes. Times are Unix seconds."""

    added_at: float = -math.inf
    removed_at: float = math.inf
    renames: tuple[tuple[float, str], ...] = ()
    """The new names, each with the time from which it is used, oldest first."""
    unscheduled: tuple[float, float] | None = None
    """The period in which the list shows no next scheduled run although runs continue."""
