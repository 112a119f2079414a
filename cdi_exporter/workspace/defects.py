"""Defects of the exporter that a workspace met: reported, and tried again at the next refresh."""

from collections.abc import Callable

import structlog

from cdi_exporter.errors import ApiError

DEFECT = "internal error: see the exporter's log, and please report it"

SAME_FOR = 2
"""Refreshes after which the same defect is logged again."""

log = structlog.get_logger()


class Defects:
    """The defects that one workspace met; `met` is called with each."""

    def __init__(self, workspace: str, met: Callable[[], None]) -> None:
        self.current: ApiError | None = None
        """The one that was met since the last refresh began."""
        self._workspace, self._met = workspace, met
        self._refresh_number = 0
        self._last: tuple[str, int] | None = None
        """What the last one was, and in which refresh."""

    def start_refresh(self) -> None:
        """Try again."""
        self._refresh_number += 1
        self.current = None

    def report(self, error: Exception) -> None:
        """Note a defect: it is logged once while it lasts."""
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
