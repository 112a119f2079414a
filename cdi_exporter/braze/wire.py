"""Braze's JSON and headers → the vocabulary; tolerant of what the API may leave out.

Nothing here raises on any JSON value but `InvalidResponse`, and that only where an answer
as a whole is not the documented one. Null, missing and the empty string all mean absent.
Sources: Braze's reference pages "List integrations" and "List job sync status".

A time that is given but cannot be read (a number, an RFC 2822 date, the hour 24, …) makes
its item invalid, so that it is counted. The time is then treated as absent, and the rest of
the item is used:

- A history row needs a start or a finish that can be read; either one identifies the run.
- A row without such a time is left out. In the newest place, a finished one still sets the
  status, as does one without any time.
- A run with an unknown status and an unreadable finish is in progress until its finish can be
  read, and is then counted once.
- A list item is always kept. An unreadable `next_scheduled_run` still means a schedule.
"""

import json
import re
from datetime import UTC, datetime
from urllib.parse import unquote

from cdi_exporter.errors import InvalidResponse
from cdi_exporter.model import LATEST, HistoryPage, Integration, IntegrationsPage, Run, Status

_NO_OBJECT = "the answer is not a JSON object"
_NO_SUCCESS = "the answer's message is not success"
_NO_RESULTS = "the answer has no list of results"
_LONG_CURSOR = "the answer's cursor is too long"

_ROW_TIMES = ("sync_start_time", "sync_finish_time", "last_timestamp_synced")
_ITEM_TIMES = ("last_updated_at", "last_job_start_time", "next_scheduled_run")

_HOUR_24 = re.compile(r"\A[^ T]+[ T]24")
"""Python reads the hour 24 from 3.14 on; what can be read must not depend on its version."""

_STATUSES = {status.value: status for status in Status}

PAGE_SIZE = 10
"""Items on a page of either endpoint."""

MOST_ROWS = 2**53
"""More rows than this are no number: a double, which Prometheus stores, counts no further."""

MOST_ITEMS = 100
"""Items of a page that are read: ten times as many as Braze documents. A page with more is not an
answer of Braze, and what a page costs must be bounded."""

LONGEST_TEXT = 200
"""Characters kept of a name, a type or another text, each of which becomes a label value. Braze's
names have a few dozen. A longer ID is not an ID: cut, it would be another one's."""

LONGEST_CURSOR = 2_048
"""Characters of a cursor, which is sent back as a part of a URL. Braze's have a dozen."""

LONGEST_WORD = 64
"""Characters kept of a status that is not known here; the documented ones have up to 12."""


def read_integrations(document: object, link: str | None = None) -> IntegrationsPage:
    """The answer of `GET /cdi/integrations`, its Link header beside it."""
    rows = _results(document)
    found: dict[str, Integration] = {}
    left_out = damaged = 0
    for row in rows:
        item = _integration(row)
        if item is None or not isinstance(row, dict):
            left_out += 1
            continue
        found[item.id] = item
        damaged += any(unreadable(row.get(name)) for name in _ITEM_TIMES)
    return IntegrationsPage(
        tuple(found.values()), left_out + damaged, damaged, next_cursor=next_cursor(link)
    )


def read_history(document: object, link: str | None = None) -> HistoryPage:
    """The answer of `GET /cdi/integrations/{id}/job_sync_status`, its Link header beside it."""
    rows = [_row(row) for row in _results(document)]
    runs: list[Run] = []
    undated: Run | None = None
    undated_running = invalid = damaged = unidentified = 0
    for place, (run, unreadable_time) in enumerate(rows):
        if run is not None and (run.start is not None or run.finish is not None):
            runs.append(run)
            damaged += unreadable_time
            continue
        unidentified += unreadable_time
        if run is not None and run.status is Status.RUNNING:
            undated_running += 1
            damaged += unreadable_time
            continue
        invalid += 1
        if place == 0:
            undated = run
    return HistoryPage(
        runs=tuple(runs),
        undated=undated if undated and undated.finished else None,
        undated_running=undated_running,
        invalid=invalid + damaged,
        damaged=damaged,
        unidentified=unidentified,
        next_cursor=next_cursor(link),
    )


def next_cursor(link: str | None) -> str | None:
    """The decoded cursor of the `rel="next"` link, None where there is none.

    The URL around it is never used: Braze writes it relative and without the slash before
    the integration's ID. Raises InvalidResponse if the cursor is too long.
    """
    for url, parameters in re.findall(r"<([^<>]*)>([^<]*)", link or ""):
        relation = re.search(r"""\brel\s*=\s*["']?([^"';,]*)""", parameters, re.IGNORECASE)
        cursor = re.search(r"[?&]cursor=([^&#]*)", url)
        if relation and "next" in relation[1].lower().split() and cursor and cursor[1]:
            if len(cursor[1]) > LONGEST_CURSOR:
                raise InvalidResponse(_LONG_CURSOR)
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
    if len(results) > MOST_ITEMS:
        message = f"the answer has {len(results)} items on one page; expected at most {MOST_ITEMS}"
        raise InvalidResponse(message)
    return results


def _integration_id(row: object) -> str | None:
    """The ID; None if there is none, or if it would lead to another path of the API."""
    identifier = row.get("integration_id") if isinstance(row, dict) else None
    if not isinstance(identifier, str) or len(identifier) > LONGEST_TEXT:
        return None
    # As a segment of a path these stand for others; everything else is percent-encoded.
    return None if identifier.strip() in (".", "..") else _text(identifier)


def _integration(row: object) -> Integration | None:
    identifier = _integration_id(row)
    if identifier is None or not isinstance(row, dict):
        return None
    status, following = _status(row.get("last_job_status")), row.get("next_scheduled_run")
    return Integration(
        id=identifier,
        name=_text(row.get("integration_name")),
        type=_text(row.get("integration_type")),
        status=_text(row.get("integration_status")),
        warehouse=_text(row.get("warehouse_type")),
        last_updated=timestamp(row.get("last_updated_at")),
        last_job_start=timestamp(row.get("last_job_start_time")),
        last_job_status=status,
        next_scheduled_run=timestamp(following),
        last_job_word=_word(row.get("last_job_status")) if status is Status.UNKNOWN else None,
        schedule_unreadable=unreadable(following),
    )


def _row(row: object) -> tuple[Run | None, bool]:
    """A row of the history, None if nothing of it can be used; whether a time is unreadable."""
    if not isinstance(row, dict):
        return None, False
    status = _status(row.get("job_status")) or Status.UNKNOWN
    run = Run(
        status=status,
        start=timestamp(row.get("sync_start_time")),
        finish=timestamp(row.get("sync_finish_time")),
        watermark=timestamp(row.get("last_timestamp_synced")),
        rows_synced=_rows(row.get("rows_synced")),
        rows_failed=_rows(row.get("rows_failed_with_errors")),
        job_status=_word(row.get("job_status")) if status is Status.UNKNOWN else None,
    )
    damaged = any(unreadable(row.get(name)) for name in _ROW_TIMES)
    if status is Status.UNKNOWN and run.start is None and run.finish is None:
        return None, damaged
    return run, damaged


def _text(value: object) -> str | None:
    """The text as UTF-8 can carry it; half of a surrogate pair becomes a question mark.

    A text that is too long is cut, and ends with an ellipsis then.
    """
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return (text if text.isascii() else text.encode(errors="replace").decode()) or None


def _status(value: object) -> Status | None:
    """The status in any spelling; None where there is none, `unknown` for a new one."""
    if value is None:
        return None
    text = value.strip().lower() if isinstance(value, str) else "no text"
    if not text:
        return None
    return _STATUSES.get(text, Status.UNKNOWN)


def _word(value: object) -> str | None:
    """A status as Braze writes it: one printable line of bounded length."""
    if isinstance(value, int | float) and abs(value) <= MOST_ROWS:
        value = json.dumps(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > LONGEST_WORD:
        text = text[: LONGEST_WORD - 1] + "…"
    shown = (each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return "".join(shown) or None


def _rows(value: object) -> int | None:
    """A count of rows; None for what is negative, no number, or beyond any table."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST_ROWS or (isinstance(value, float) and not value.is_integer()):
        return None
    return int(value)


def timestamp(value: object) -> float | None:
    """An ISO 8601 time as Unix seconds; a time without a zone is UTC.

    None if it is absent or cannot be read, and for the zero times (the years 1 and 1970) that
    other programs write for "no time".
    """
    seconds = _seconds(value) if isinstance(value, str) else None
    return seconds if seconds is not None and seconds > 0 else None


def unreadable(value: object) -> bool:
    """Whether a time is given, but in a form that cannot be read."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return False
    return not isinstance(value, str) or _seconds(value) is None


def _seconds(value: str) -> float | None:
    text = value.strip().upper().removesuffix(" UTC")
    if _HOUR_24.search(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds <= LATEST else None
