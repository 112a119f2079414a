"""Parses the JSON of Braze's CDI API into the values of `model`.

Fields may be missing: null, a missing field and an empty string all mean absent. No JSON value
raises an error other than `InvalidResponse`, which means that the response as a whole is not the
documented one. Sources: Braze's reference pages "List integrations" and "List job sync status".

A time that is present but cannot be parsed (a number, an RFC 2822 date, the hour 24, …) makes its
item invalid, so that it is counted. The time is treated as absent, and the rest of the item is
used:

- A history row needs a valid start or finish, either of which identifies the run.
- A row without them is omitted. If it is the newest, it still sets the status, provided that the
  run has finished.
- A run with an unknown status and an invalid finish is in progress until its finish is valid, and
  is then counted once.
- A list item is never omitted because of a time. An invalid `next_scheduled_run` still means that
  there is a schedule.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any
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
"""The hour 24, which only Python 3.14 and newer parse. All versions must treat times alike."""

_STATUSES = {status.value: status for status in Status}

PAGE_SIZE = 10
"""Items on a page of either endpoint, according to Braze's reference."""

MOST_ROWS = 2**53
"""A larger number of rows is treated as absent: Prometheus cannot store it exactly in a double."""

MOST_ITEMS = 100
"""Items on a page, at most: ten times as many as Braze documents. A page with more is rejected,
because it is not from Braze and would be costly to process."""

LONGEST_TEXT = 200
"""Characters kept of a name, type or other text, each of which becomes a label value. Braze's names
have a few dozen. An item with a longer ID is omitted: a shortened ID could be another item's."""

LONGEST_CURSOR = 2_048
"""Characters of a cursor, which becomes part of a URL. Braze's cursors have about 12."""

LONGEST_WORD = 64
"""Characters kept of an unknown status. The documented ones have at most 12."""


def read_integrations(document: object, link: str | None = None) -> IntegrationsPage:
    """Parse a response to `GET /cdi/integrations` and its Link header. Raises InvalidResponse."""
    found: dict[str, Integration] = {}
    left_out = damaged = 0
    for row in _results(document):
        if not isinstance(row, dict) or (item := _integration(row)) is None:
            left_out += 1
            continue
        found[item.id] = item
        damaged += any(unreadable(row.get(name)) for name in _ITEM_TIMES)
    return IntegrationsPage(
        tuple(found.values()), left_out + damaged, damaged, next_cursor=next_cursor(link)
    )


def read_history(document: object, link: str | None = None) -> HistoryPage:
    """Parse a response to `GET /cdi/integrations/{id}/job_sync_status` and its Link header.

    Raises InvalidResponse.
    """
    runs: list[Run] = []
    undated: Run | None = None
    undated_running = invalid = damaged = unidentified = 0
    for place, (run, unreadable_time) in enumerate(map(_row, _results(document))):
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
    """The decoded cursor of the `rel="next"` link, None without one. Raises InvalidResponse.

    The rest of the URL is ignored: Braze sends a relative URL without the slash before the ID.
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


def _integration(row: dict[Any, Any]) -> Integration | None:
    """An item of the list; None if it has no ID or an unusable one."""
    given = row.get("integration_id")
    if not isinstance(given, str) or len(given) > LONGEST_TEXT:
        return None
    identifier = _text(given)
    # "." and ".." would lead to another path of the API. Other IDs are percent-encoded.
    if identifier in (None, ".", ".."):
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
    """A row of the history, None if it is unusable, and whether it has an invalid time."""
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
    """A text that can be encoded as UTF-8, shortened with an ellipsis if it is too long.

    Half of a surrogate pair becomes a question mark.
    """
    if not isinstance(value, str):
        return None
    text = value.strip()
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return (text if text.isascii() else text.encode(errors="replace").decode()) or None


def _status(value: object) -> Status | None:
    """The status, in upper or lower case; None if absent, `unknown` if it is not documented."""
    if value is None:
        return None
    text = value.strip().lower() if isinstance(value, str) else "no text"
    if not text:
        return None
    return _STATUSES.get(text, Status.UNKNOWN)


def _word(value: object) -> str | None:
    """An unknown status as Braze wrote it, as one printable line of limited length."""
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
    """A count of rows; None if it is negative, too large, or not a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MOST_ROWS or (isinstance(value, float) and not value.is_integer()):
        return None
    return int(value)


def timestamp(value: object) -> float | None:
    """An ISO 8601 time as Unix seconds. A time without a zone is UTC.

    None if it is absent, invalid, or a zero time (the years 1 and 1970), which programs write for
    "no time".
    """
    seconds = _seconds(value) if isinstance(value, str) else None
    return seconds if seconds is not None and seconds > 0 else None


def unreadable(value: object) -> bool:
    """Whether a time is present but cannot be parsed."""
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
