"""Format of the log, and contents that must never be logged."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from cdi_exporter import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def written(form: logs.LogFormat, level: logs.LogLevel = "info", **fields: object) -> str:
    """The log output of one event."""
    out = io.StringIO()
    logs.configure(level, form, out)
    structlog.get_logger().info("sync finished", **fields)
    return out.getvalue()


def test_logfmt_is_one_line_of_pairs() -> None:
    """The time and level come first, then the event and its fields."""
    line = written("logfmt", workspace="production", rows_synced=5)
    assert line.startswith("ts=20")
    assert line.endswith('level=info event="sync finished" workspace=production rows_synced=5\n')


def test_json_is_one_object_per_line() -> None:
    """JSON has the same fields, with their types."""
    event = json.loads(written("json", workspace="production", rows_synced=5, rows_failed=0))
    assert event.pop("ts")
    assert event == {
        "level": "info",
        "event": "sync finished",
        "workspace": "production",
        "rows_synced": 5,
        "rows_failed": 0,
    }


@pytest.mark.parametrize("form", ["logfmt", "json"])
@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\b", "a\x1b[31mb", "a=b c", "ä😀", "\ud800"])
def test_a_hostile_name_stays_on_its_line(form: logs.LogFormat, name: str) -> None:
    """Names come from the API. They must not break lines or send commands to a terminal."""
    line = written(form, integration_name=name)
    assert line.count("\n") == 1
    assert "\x1b" not in line
    line.encode()


def test_events_below_the_level_are_not_written() -> None:
    """At the level warn, an info event is not written."""
    assert written("logfmt", "warn") == ""


def test_requests_are_not_logged_by_libraries() -> None:
    """httpx logs each request at info, httpcore each header at debug. Neither may be written."""
    out = io.StringIO()
    logs.configure("debug", "logfmt", out)
    logging.getLogger("httpcore.http11").debug("authorization: Bearer canary")
    logging.getLogger("httpx").info("HTTP Request: GET https://x")
    logging.getLogger("a.library").warning("Invalid HTTP request received.")
    assert out.getvalue().count("\n") == 1
    assert "Invalid HTTP request" in out.getvalue()


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_traceback_shows_no_variables(form: logs.LogFormat) -> None:
    """An error that is raised while a key is in a variable does not log the key."""
    out = io.StringIO()
    logs.configure("info", form, out)
    key = "canary"
    try:
        key.index("absent")
    except ValueError:
        structlog.get_logger().exception("a defect")
    assert "canary" not in out.getvalue().replace('key = "canary"', "")
    assert "ValueError" in out.getvalue()
