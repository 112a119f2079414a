"""The simulated workspace with faults, scripted runs, lags and a record of all requests."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Literal

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.json_pages import JsonPage
from cdi_exporter.simulator.showcase import demo_integrations, demo_retention
from cdi_exporter.simulator.simulated_workspace import (
    DAY,
    HISTORY,
    LIMITS,
    LIST,
    PERMISSIONS,
    Answer,
    Call,
    Send,
    SimulatedWorkspace,
    error,
    page_answer,
)
from cdi_exporter.simulator.spec import IntegrationSpec
from tests.simulator.faults import ELSEWHERE, PROXY_PAGE, SPOILERS, Fault, FaultKind, Unreachable
from tests.simulator.members import Members
from tests.simulator.requests import Request, Traffic
from tests.simulator.script import ScriptedIntegration
from tests.simulator.shared_window import SharedWindow, WindowKind
from tests.simulator.truth import Truth

DEMO_INTEGRATIONS, DEMO_SPEED = 12, 60.0
Sleep = Callable[[float], Awaitable[object]]
RetryHeader = Literal["retry-after", "x-ratelimit-retry-after", "reset", "none"]
"""The header of a 429 that has the time to wait. With `none` it has no rate limit header at all."""


class Simulator(SimulatedWorkspace):
    """One Braze workspace for tests. The instance is the ASGI application.

    `clock` returns Unix seconds, and `sleep` waits before a delayed response. `key`, `permissions`,
    `faults` and `retry_header` can be changed at any time. A clock that differs from the client's
    simulates a server with another time.

    `history_lag` and `list_lag` are the delays in seconds of the history and of the list's last
    job. `retention` is the age in seconds of the oldest runs in the history. `latency` is the
    duration of each response. If `list_has_last_job` is False, the `last_job_*` fields of the list
    are null.
    """

    def __init__(
        self,
        integrations: Iterable[IntegrationSpec],
        clock: Callable[[], float],
        *,
        key: str = "simulated-key",
        permissions: Iterable[str] = tuple(PERMISSIONS.values()),
        limits: Mapping[str, int] = LIMITS,
        limit_window: WindowKind = "fixed",
        retry_header: RetryHeader = "retry-after",
        faults: Iterable[Fault] = (),
        seed: int = 0,
        sleep: Sleep = asyncio.sleep,
        latency: float = 0.0,
        history_lag: float = 0.0,
        list_lag: float = 0.0,
        list_has_last_job: bool = True,
        retention: float = 30 * DAY,
    ) -> None:
        super().__init__((), clock, key=key, retention=retention)
        self.permissions = set(permissions)
        self.faults = list(faults)
        self.retry_header: RetryHeader = retry_header
        self.traffic = {LIST: Traffic(), HISTORY: Traffic()}
        self._seed = seed
        self._sleep = sleep
        self._latency = latency
        self._windows = {
            name: SharedWindow(limit, limit_window, partial(self._foreign, name))
            for name, limit in limits.items()
        }
        self._roster = Members(seed)
        self._roster.add(integrations, at=-math.inf)
        self._history_lag, self._list_lag = history_lag, list_lag
        self._list_has_last_job = list_has_last_job
        self.truth = Truth(self._roster, retention)
        self._met: tuple[Fault, ...] = ()

    def add(self, *integrations: IntegrationSpec) -> None:
        """Add integrations now. Removed ones can be added again.

        Raises ValueError if the workspace already has an integration with this ID.
        """
        self._roster.add(integrations, at=self._clock())

    def remove(self, integration_id: str) -> None:
        """Remove an integration from the workspace now."""
        self._roster.remove(integration_id, at=self._clock())

    def rename(self, integration_id: str, name: str) -> None:
        """Rename an integration now."""
        self._roster.rename(integration_id, name, at=self._clock())

    @property
    def statuses(self) -> Counter[int]:
        """The responses of both endpoints by status. 0 counts requests without a response."""
        return sum((each.statuses for each in self.traffic.values()), Counter[int]())

    @property
    def too_many(self) -> int:
        """The number of 429 responses so far."""
        return self.statuses[429]

    async def _respond(self, call: Call, send: Send) -> None:
        """Respond to one request. Raises Unreachable during an outage."""
        met = self._met = self._faults_of(call)
        answer = None if self._fault(FaultKind.OUTAGE, FaultKind.HANG) else self._answer(call)
        status = 0 if answer is None else answer.status
        request = Request(call.now, status, call.integration_id, call.cursor)
        self.traffic[call.endpoint].note(request)
        late = next((f for f in met if f.kind in (FaultKind.HANG, FaultKind.SLOW)), None)
        seconds = self._latency + (late.delay if late is not None else 0)
        if seconds > 0:
            await self._sleep(seconds)
        if answer is None:
            raise Unreachable(call.endpoint)
        await self._send(answer, send)

    def _faults_of(self, call: Call) -> tuple[Fault, ...]:
        number = len(self.traffic[call.endpoint].times)
        where = (call.now, call.endpoint, call.integration_id)
        reigning = (fault for fault in self.faults if fault.covers(*where))
        return tuple(fault for fault in reigning if fault.meets(self._seed, number))

    def _fault(self, *kinds: FaultKind) -> Fault | None:
        """The first fault of these kinds that affects the current request."""
        return next((fault for fault in self._met if fault.kind in kinds), None)

    def _foreign(self, endpoint: str, since: float, now: float) -> int:
        return sum(fault.spent(since, now, endpoint) for fault in self.faults)

    def _answer(self, call: Call) -> Answer:
        if self._fault(FaultKind.HTML):
            return Answer(502, PROXY_PAGE, content_type=b"text/html")
        if self._fault(FaultKind.REDIRECT):
            return Answer(302, b"", [(b"location", ELSEWHERE)])
        return super()._answer(call)

    def _refusal(self, call: Call) -> Answer | None:
        failure = self._fault(FaultKind.SERVER_ERROR)
        refusal = super()._refusal(call)
        if refusal is None and failure is not None:
            return error(failure.status, "The request failed")
        return refusal

    def _page_answer(self, call: Call, page: JsonPage, skip: int | None) -> Answer:
        endless = self._fault(FaultKind.ENDLESS)
        if endless and not page.items:
            page = self._read(call, 0) or page
        next_skip = (skip or 0) + 10 if endless else None
        if self._fault(FaultKind.REPEATING_CURSOR):
            next_skip = skip or 0
        answer = page_answer(page, next_skip)
        for fault in self._met:
            if spoil := SPOILERS.get(fault.kind):
                answer.body = spoil(answer.body)
        return answer

    def _members_at(self, now: float) -> Mapping[str, GeneratedIntegration]:
        return self._roster.at(now)

    def _too_many(self, call: Call) -> Answer:
        answer = super()._too_many(call)
        (_, seconds), *others = answer.headers
        named = (self.retry_header.encode(), seconds)
        answer.headers = others if self.retry_header in ("reset", "none") else [named, *others]
        return answer

    def _limit_headers(self, call: Call, status: int) -> list[tuple[bytes, bytes]]:
        if status == 429 and self.retry_header == "none":
            return []
        return super()._limit_headers(call, status)

    def _list_item(self, member: GeneratedIntegration, now: float) -> dict[str, object]:
        """The item as a script defines it, without a last job if so configured."""
        item = super()._list_item(member, now)
        if not self._list_has_last_job:
            item |= {"last_job_start_time": None, "last_job_status": None}
        if isinstance(member.spec, ScriptedIntegration):
            item |= member.spec.list_fields
        return {name: value for name, value in item.items() if value is not ...}


def demo_workspace(
    seed: int,
    integrations: int = DEMO_INTEGRATIONS,
    speed: float = DEMO_SPEED,
    *,
    clock: Callable[[], float],
) -> Simulator:
    """The demo's workspace with the additional functions for tests."""
    specs = demo_integrations(seed, integrations, speed, clock())
    return Simulator(specs, clock, seed=seed, retention=demo_retention(speed))
