"""State files with manipulated values: refused with one line, or shown without invalid values."""

import json
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdi_exporter.errors import StartError
from cdi_exporter.ledger import LedgerState
from cdi_exporter.ledger.saved import ChainState
from cdi_exporter.ledger.summary import Older
from cdi_exporter.model import Counters, Integration, Run, Status
from cdi_exporter.state import Row, StateError, Store, WorkspaceRow
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.list_view import ListFingerprint
from cdi_exporter.workspace.record import Knowledge, Record
from tests.harness import journal_on, rig, scripted, simulator
from tests.virtual import EPOCH, instant, run, virtual_clock

RUN = Run(
    Status.SUCCESS,
    start=EPOCH - 600,
    finish=EPOCH - 500,
    watermark=EPOCH - 700,
    rows_synced=5,
    rows_failed=1,
)
RUNNING = Run(Status.RUNNING, start=EPOCH - 60)
CHAIN = ChainState(
    runs=(RUN,), pages=1, cursor="c", wanted=(("start", EPOCH - 900),), floor=EPOCH - 9000
)
WHOLE = Record(
    Knowledge(
        LedgerState(
            seen=True,
            counters=Counters(3, 1, 1, 1, 1, 500, 5, 900.5, 7, 1),
            runs=(RUN,),
            under_way=(RUNNING,),
            floor=EPOCH - 1000,
            first_seen=EPOCH - 2000,
            history_start=EPOCH - 3000,
            older=Older(EPOCH - 1000, EPOCH - 1100, 1, EPOCH - 1000, EPOCH - 1000),
            chain=CHAIN,
            chase=CHAIN,
            undated=Run(Status.SUCCESS, rows_synced=1),
            undated_running=1,
        ),
        item=Integration(
            "one",
            "name",
            last_updated=EPOCH - 700,
            last_job_start=EPOCH - 60,
            last_job_status=Status.RUNNING,
            next_scheduled_run=EPOCH + 600,
        ),
        answered=ListFingerprint(EPOCH - 60, Status.RUNNING, EPOCH - 700),
        zero_served=True,
        list_missed_at=EPOCH - 5000,
        schedule_lost=EPOCH - 10,
        interval_since=EPOCH - 3000,
    ),
    read_at=EPOCH - 30,
    seen_server=EPOCH - 30,
    scheduled_at=EPOCH - 30,
    refreshed=EPOCH - 30,
)
"""A record in which every field has a value."""

HUGE = "1" + 400 * "0"
NUMBERS = ("NaN", "Infinity", "-Infinity", "-1", "-0.5", "1e308", "1e400", HUGE, '"5"', "true")
OTHERS = ("null", "[]", "{}", '"x"', "[null]", '["start", NaN]')


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in the record."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from leaves(child, (*path, key))


def tampered(path: tuple[Any, ...], text: str) -> str:
    """The whole record with another value at this path."""
    record = json.loads(WHOLE.to_json())
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "@"
    return json.dumps(record).replace('"@"', text)


EVERY = [*leaves(json.loads(WHOLE.to_json()))]


def numbers_of(value: object) -> Iterator[float]:
    """Every number in the facts of an integration."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from numbers_of(each)
    elif hasattr(value, "__slots__"):
        for name in value.__slots__:
            yield from numbers_of(getattr(value, name))


def test_the_untampered_record_is_read() -> None:
    """The other tests start from a valid record."""
    assert Record.from_json(WHOLE.to_json()) == WHOLE


@pytest.mark.parametrize("text", [*NUMBERS, *OTHERS])
def test_a_record_with_any_changed_value_is_refused_or_can_be_shown(text: str) -> None:
    """Facts contain only finite, non-negative numbers, and only ValueError is raised."""
    for path in EVERY:
        try:
            record = Record.from_json(tampered(path, text))
        except ValueError:
            continue
        state = IntegrationState.restore("one", record, record, instant(1000.0, EPOCH))
        state.ledger.overlooked(EPOCH)
        shown = state.snapshot()
        for number in numbers_of(shown.facts):
            assert math.isfinite(number), (path, text)
            assert number >= 0, (path, text)
        assert Record.from_json(state.record(instant(1000.0, EPOCH)).to_json()), (path, text)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("success", "-1"),
        ("success", HUGE),
        ("rows_synced", "NaN"),
        ("rows_failed", "-5"),
        ("duration_sum", "NaN"),
        ("duration_sum", "Infinity"),
        ("duration_sum", "-1.5"),
        ("duration_count", "1.5"),
    ],
)
def test_an_impossible_counter_is_refused(field: str, text: str) -> None:
    """The error names the counter."""
    with pytest.raises(ValueError, match=rf"\Aknowledge\.ledger\.counters\.{field}: [^\n]+\Z"):
        Record.from_json(tampered(("knowledge", "ledger", "counters", field), text))


def test_a_counter_above_2_to_the_53_is_kept() -> None:
    """The sum may exceed 2**53; it is shown as the nearest double."""
    path = ("knowledge", "ledger", "counters", "rows_synced")
    assert Record.from_json(tampered(path, str(2**60))).knowledge.ledger.counters.rows_synced


def refusal(folder: Path, *changes: tuple[str, tuple[object, ...]]) -> str:
    """The error of an exporter that starts on a manipulated state file."""
    path = folder / "state.sqlite"

    async def scenario() -> str:
        clock = virtual_clock()
        store = Store(str(path), clock.wall)
        row = Row("w", "one", listed=True, record=WHOLE.to_json())
        store.commit([row], [WorkspaceRow("w", complete=True)])
        store.close()
        with sqlite3.connect(path) as connection:
            for statement, values in changes:
                connection.execute(statement, values)
        connection.close()
        journal = journal_on(path, clock)
        with pytest.raises(StateError) as error:
            async with rig(simulator(clock, scripted("one")), clock=clock, journal=journal):
                pass
        journal._store.close()
        return str(error.value)

    return run(scenario())


SOUND = "; restore a backup, or move it away to start with no history"


@pytest.mark.parametrize(
    ("change", "value", "problem"),
    [
        ("record = ?", tampered(("read_at",), "NaN"), "integration 'one': read_at: "),
        ("record = ?", WHOLE.to_json().encode(), "integration 'one': record is bytes"),
        ("record = ?", 5.5, "integration 'one': expected an object"),
        ("id = ?", b"one", "integration b'one': id is bytes"),
        ("id = CAST(? AS TEXT)", b"\xff\n", r"integration b'\xff\n': id is bytes"),
        ("id = ?", "", "integration '': id is not an integration ID"),
        ("id = ?", "..", "integration '..': id is not an integration ID"),
        ("left_at = -1, id = ?", "a\nb" * 200, r"integration 'a\nba\nb"),
        ("listed = ?", "yes", "integration 'one': listed is text"),
        ("listed = ?", 2, "integration 'one': listed is not 0 or 1"),
        ("left_at = ?", -1.0, "integration 'one': left_at is not a time"),
        ("left_at = ?", math.inf, "integration 'one': left_at is not a time"),
        ("left_at = ?", 1e300, "integration 'one': left_at is not a time"),
        ("left_at = ?", "soon", "integration 'one': left_at is text"),
    ],
)
def test_an_impossible_integration_row_is_refused(
    tmp_path: Path, change: str, value: object, problem: str
) -> None:
    """The error is one line with the workspace, the integration and the column."""
    message = refusal(tmp_path, (f"UPDATE integrations SET {change}", (value,)))
    assert message.startswith(f"unreadable record in the workspace 'w', {problem}"), message
    assert message.endswith(SOUND)
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("change", "value", "problem"),
    [
        ("complete = ?", "x", "complete is text; expected a whole number"),
        ("complete = ?", -1, "complete is not 0 or 1"),
        ("forgotten_at = ?", math.inf, "forgotten_at is not a time"),
        ("forgotten_at = ?", b"1", "forgotten_at is bytes; expected a number"),
    ],
)
def test_an_impossible_workspace_row_is_refused(
    tmp_path: Path, change: str, value: object, problem: str
) -> None:
    """The error names the workspace and the column."""
    message = refusal(tmp_path, (f"UPDATE workspaces SET {change}", (value,)))
    assert message == f"unreadable record of the workspace 'w': {problem}{SOUND}"


def test_an_empty_state_file_is_reported(tmp_path: Path) -> None:
    """The file may have been truncated: the exporter starts with no history and logs a warning."""
    path = tmp_path / "state.sqlite"
    path.touch()
    with structlog.testing.capture_logs() as logged:
        Store(str(path), lambda: EPOCH).close()
    assert logged == [
        {
            "event": "state file empty",
            "log_level": "warning",
            "path": str(path),
            "problem": "starting with no history",
        }
    ]
    with structlog.testing.capture_logs() as logged:
        Store(str(path), lambda: EPOCH).close()
        Store(str(tmp_path / "new.sqlite"), lambda: EPOCH).close()
    assert logged == []


def test_a_format_below_zero_is_refused(tmp_path: Path) -> None:
    """There is no migration from a negative format."""
    path = tmp_path / "state.sqlite"
    Store(str(path), lambda: EPOCH).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = -1")
    connection.close()
    with pytest.raises(StartError, match="malformed"):
        Store(str(path), lambda: EPOCH)
