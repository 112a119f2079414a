"""Defects of the exporter itself: logged, shown as an error, retried with the next refresh."""

from collections.abc import Callable

import structlog

from cdi_exporter.errors import ApiError

DEFECT = "internal error: see the exporter's log, and please report it"

SAME_FOR = 2
"""Refreshes after which the same defect is logged again."""

log = structlog.get_logger()


class Defects:
    """The defects that one workspace met; `met` is called after each."""

    def __init__(self, workspace: str, met: Callable[[], None]) -> None:
        self.current: ApiError | None = None
        """The defect since the last refresh started, if any."""
        self._workspace, self._met = workspace, met
        self._refresh_number = 0
        self._last: tuple[str, int] | None = None
        """The last one, and the number of the refresh."""

    def start_refresh(self) -> None:
        """Start again without a defect."""
        self._refresh_number += 1
        self.current = None

    def report(self, error: Exception) -> None:
        """Note a defect; log it unless the same was just logged."""
        before, self._last = self._last, (repr(error), self._refresh_number)
        lasts = (
            before is not None
            and before[0] == repr(error)
            and self._refresh_number - before[1] <= SAME_FOR
        )
        self.current = ApiError(DEFECT)
        self._met()
        if not lasts:
            log.error("internal error", workspace=self._workspace, exc_info=error)
