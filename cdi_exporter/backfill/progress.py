"""Progress on stderr: a bar on a terminal, else a line every ten seconds."""

from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from cdi_exporter.backfill.plan import rough_duration

LINE_EVERY = 10.0
"""Seconds between two lines: often enough to show progress, rare enough for a log."""


class Progress:
    """Shows a bar on the `terminal` or, without one, passes lines to `write`.

    `monotonic` returns seconds.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        monotonic: Callable[[], float],
        terminal: TextIO | None = None,
    ) -> None:
        self._write, self._monotonic, self._terminal = write, monotonic, terminal
        self._stage = ""
        self._written_at = 0.0
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def start(self, stage: str, total: int) -> None:
        """Start a stage of `total` steps."""
        self._stage, self._written_at = stage, self._monotonic()
        if self._terminal is not None:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(file=self._terminal),
            )
            self._task = self._bars.add_task(stage, total=total, left="")
            self._bars.start()

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        """Show that `done` of `total` steps are done, and the remaining seconds if known."""
        left = f"{total - done} left"
        if seconds is not None:
            left += f", about {rough_duration(seconds)} to go"
        now = self._monotonic()
        if self._bars is not None:
            self._bars.update(self._task, completed=done, total=total, left=left)
        elif self._terminal is None and (now >= self._written_at + LINE_EVERY or done == total):
            self._written_at = now
            self._write(f"{self._stage}: {done} of {total}, {left}")

    def end(self) -> None:
        """End the stage, whether it succeeded or not."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
