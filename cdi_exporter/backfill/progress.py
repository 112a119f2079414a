"""Progress on stderr: a bar on a terminal, else a line every ten seconds."""

from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from cdi_exporter.backfill.plan import rough_duration

LINE_EVERY = 10.0
"""Seconds between two lines."""


class Progress(Protocol):
    """Receives the progress."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` steps starts."""

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        """So many steps are done, of a total that may have changed; seconds to go if known."""

    def end(self) -> None:
        """It is over, well or not."""


class RichProgress:
    """A bar on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def begin(self, stage: str, total: int) -> None:
        """Show a bar."""
        self.end()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._task = self._bars.add_task(stage, total=total, left="")
        self._bars.start()

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        """Move the bar."""
        if self._bars is not None:
            self._bars.update(
                self._task, completed=done, total=total, left=_left(done, total, seconds)
            )

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


class PlainProgress:
    """Lines, for a log. `monotonic` gives seconds."""

    def __init__(self, write: Callable[[str], object], monotonic: Callable[[], float]) -> None:
        self._write, self._monotonic = write, monotonic
        self._stage = ""
        self._written_at = 0.0

    def begin(self, stage: str, total: int) -> None:
        """The first line comes with the first step."""
        self._stage, self._written_at = stage, self._monotonic()

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        """Write a line, if the last one is long enough ago."""
        if self._monotonic() >= self._written_at + LINE_EVERY or done == total:
            self._written_at = self._monotonic()
            self._write(f"{self._stage}: {done} of {total}, {_left(done, total, seconds)}")

    def end(self) -> None:
        """Nothing is open."""


def _left(done: int, total: int, seconds: float | None) -> str:
    left = f"{total - done} left"
    return left if seconds is None else f"{left}, about {rough_duration(seconds)} to go"
