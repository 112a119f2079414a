"""Braze's JSON and headers → the vocabulary; tolerant of what the API may leave out.

Nothing here raises on any JSON value but `InvalidResponse`, and that only where an answer
as a whole is not the documented one. Null, missing and the empty string all mean absent.
Sources: Braze's reference pages "List integrations" and "List job sync status".
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from cdi_exporter.errors import InvalidResponse
from cdi_exporter.model import Integration, Run, Status

_NO_OBJECT = "the answer is not a JSON object"
_NO_SUCCESS = "the answer's message is not success"
_NO_RESULTS = "the answer has no list of results"

_STATUSES = {status.value: status for status in Status}

PAGE_SIZE = 10
"""Items on a page of either endpoint."""

MOST_ROWS = 2**53
"""More rows than this are no number: a double, which Prometheus stores, counts no further."""


LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""The last second of the calendar: what rounds to a later one cannot be written as a date."""


@dataclass(frozen=True, slots=True)
class IntegrationsPage:
    """One page of the list of integrations."""

    integrations: tuple[Integration, ...]
    invalid: int = 0
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of an integration's history, in the order in which it was given."""

    runs: tuple[Run, ...]
    undated: Run | None = None
    """A finished run without any time in the newest place: it has a status, no identity."""
    undated_running: int = 0
    """Runs under way without any time."""
    invalid: int = 0
    next_cursor: str | None = None


def read_integrations(document: object, link: str | None = None) -> IntegrationsPage:
    """The answer of `GET /cdi/integrations`, its Link header beside it."""
    rows = _results(document)
    found = {item.id: item for row in rows if (item := _integration(row)) is not None}
    readable = sum(1 for row in rows if _integration_id(row) is not None)
    return IntegrationsPage(tuple(found.values()), len(rows) - readable, next_cursor(link))


def read_history(document: object, link: str | None = None) -> HistoryPage:
    """The answer of `GET /cdi/integrations/{id}/job_sync_status`, its Link header beside it."""
    rows = [_run(row) for row in _results(document)]
    read = [run for run in rows if run is not None]
    undated = [run for run in read if not _dated(run)]
    running = sum(1 for run in undated if run.status is Status.RUNNING)
    newest = rows[0] if rows else None
    return HistoryPage(
        runs=tuple(run for run in read if _dated(run)),
        undated=newest if newest and newest.finished and not _dated(newest) else None,
        undated_running=running,
        invalid=len(rows) - len(read) + len(undated) - running,
        next_cursor=next_cursor(link),
    )


def next_cursor(link: str | None) -> str | None:
    """The decoded cursor of the `rel="next"` link, None where there is none.

    The URL around it is never used: Braze writes it relative and without the slash before
    the integration's ID.
    """
    for url, parameters in re.findall(r"<([^<>]*)>([^<]*)", link or ""):
        relation = re.search(r"""\brel\s*=\s*["']?([^"';,]*)""", parameters, re.IGNORECASE)
        cursor = re.search(r"[?&]cursor=([^&#]*)", url)
        if relation and "next" in relation[1].lower().split() and cursor and cursor[1]:
            return unquote(cursor[1])
    return None


def _results(document: object) -> list[object]:
    if not isinstance(document, dict):
        raise InvalidResponse(_NO_OBJECT)
    message = document.get("message")
    if not isinstance(message, str) or message.strip().lower() != "success":
        raise InvalidResponse(_NO_SUCCESS)
    results = document.get("results")
    if not isinstance(results, list):
        raise InvalidResponse(_NO_RESULTS)
    return results


def _integration_id(row: object) -> str | None:
    return _text(row.get("integration_id")) if isinstance(row, dict) else None


def _integration(row: object) -> Integration | None:
    identifier = _integration_id(row)
    if identifier is None or not isinstance(row, dict):
        return None
    due = row.get("next_scheduled_run")
    next_run = timestamp(due)
    return Integration(
        id=identifier,
        name=_text(row.get("integration_name")),
        type=_text(row.get("integration_type")),
        status=_text(row.get("integration_status")),
        warehouse=_text(row.get("warehouse_type")),
        last_updated=timestamp(row.get("last_updated_at")),
        last_job_start=timestamp(row.get("last_job_start_time")),
        last_job_status=_status(row.get("last_job_status")),
        next_scheduled_run=next_run,
        schedule_unreadable=next_run is None and _given(due),
    )


def _run(row: object) -> Run | None:
    """A row of the history; None where nothing of it can be read."""
    if not isinstance(row, dict):
        return None
    run = Run(
        status=_status(row.get("job_status")) or Status.UNKNOWN,
        start=timestamp(row.get("sync_start_time")),
        finish=timestamp(row.get("sync_finish_time")),
        watermark=timestamp(row.get("last_timestamp_synced")),
        rows_synced=_rows(row.get("rows_synced")),
        rows_failed=_rows(row.get("rows_failed_with_errors")),
    )
    return None if run.status is Status.UNKNOWN and not _dated(run) else run


def _dated(run: Run) -> bool:
    return run.start is not None or run.finish is not None


def _given(value: object) -> bool:
    """Whether there is a value: null and the empty string mean absent."""
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _text(value: object) -> str | None:
    """The text as UTF-8 can carry it; half of a surrogate pair becomes a question mark."""
    if not isinstance(value, str):
        return None
    text = value if value.isascii() else value.encode(errors="replace").decode()
    return text.strip() or None


def _status(value: object) -> Status | None:
    """The status in any spelling; None where there is none, `unknown` for a new one."""
    if value is None:
        return None
    text = value.strip().lower() if isinstance(value, str) else "no text"
    if not text:
        return None
    return _STATUSES.get(text, Status.UNKNOWN)


def _rows(value: object) -> int | None:
    """A count of rows; None for what is negative, no number, or beyond any table."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST_ROWS or (isinstance(value, float) and not value.is_integer()):
        return None
    return int(value)


def timestamp(value: object) -> float | None:
    """An ISO 8601 time as Unix seconds; a naive one is UTC; what no calendar has is none."""
    if not isinstance(value, str):
        return None
    text = value.strip().upper().removesuffix(" UTC")
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds <= LATEST else None
