"""The progress output of a backfill."""

import io

from cdi_exporter.backfill import Progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_progress_is_printed_every_ten_seconds() -> None:
    """It is printed every ten seconds and at the end, not for each request."""
    lines: list[str] = []
    now = 0.0
    progress = Progress(lines.append, lambda: now)
    progress.start("reading", 100)
    for done in range(1, 101):
        now += 0.3
        progress.at(done, 100, (100 - done) * 60.0)
    progress.end()
    assert lines == [
        "reading: 34 of 100, 66 left, about 1h6m to go",
        "reading: 68 of 100, 32 left, about 32m to go",
        "reading: 100 of 100, 0 left, about 0s to go",
    ]


def test_each_stage_starts_at_zero() -> None:
    """A short stage also reports its end."""
    lines: list[str] = []
    progress = Progress(lines.append, lambda: 0.0)
    for stage in ("sampling", "writing"):
        progress.start(stage, 1)
        progress.at(1, 1)
        progress.end()
    assert lines == ["sampling: 1 of 1, 0 left", "writing: 1 of 1, 0 left"]


def test_a_terminal_gets_a_progress_bar() -> None:
    """The bar shows the stage, done, total and remaining; the total may change."""
    stream = Terminal()
    progress = Progress(print, lambda: 0.0, stream)
    progress.start("reading", 10)
    progress.at(1, 20, 75.0)
    progress.end()
    shown = stream.getvalue()
    assert "reading" in shown
    assert "1/20" in shown
    assert "19 left, about 1m15s to go" in shown


def test_a_progress_bar_that_was_never_shown_can_be_ended() -> None:
    """This happens if there is nothing to do, or after an early Ctrl-C."""
    stream = Terminal()
    progress = Progress(print, lambda: 0.0, stream)
    progress.at(1, 2)
    progress.end()
    assert stream.getvalue() == ""
