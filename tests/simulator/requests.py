"""A record of the requests to one endpoint."""

import math
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field

from cdi_exporter.simulator.simulated_workspace import WINDOW


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `cursor` is None for a first page."""

    time: float
    status: int
    """The status of the response, or 0 if there was none."""
    integration_id: str | None
    cursor: str | None


@dataclass(slots=True)
class Traffic:
    """All requests to one endpoint, including rejected ones."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    """When each request arrived, in Unix seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    recent: deque[Request] = field(default_factory=lambda: deque(maxlen=1000))

    def note(self, request: Request) -> None:
        """Record a request."""
        self.times.append(request.time)
        self.statuses[request.status] += 1
        self.recent.append(request)

    def busiest(
        self, seconds: float = WINDOW, since: float = -math.inf, until: float = math.inf
    ) -> int:
        """The maximum number of requests that arrived within a period of this many seconds."""
        times = [time for time in self.times if since <= time < until]
        most, first = 0, 0
        for last, time in enumerate(times):
            while times[first] <= time - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most
