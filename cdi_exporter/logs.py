"""Structured logs on stderr: logfmt for people, JSON for machines."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["logfmt", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


def configure(level: LogLevel, form: LogFormat, stream: TextIO | None = None) -> None:
    """Write events of at least `level` to `stream`, stderr where none is given.

    The libraries' own loggers go the same way from warning on: below that they tell of
    requests and headers, of which the API key is one.
    """
    out = stream or sys.stderr
    structlog.configure(
        processors=[*_shared(), *_renderers(form)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_shared()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(form),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _shared() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]


def _renderers(form: LogFormat) -> list[Processor]:
    if form == "json":
        # Without the variables of each frame: a key may be one.
        traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(traces),
            structlog.processors.JSONRenderer(),
        ]
    return [
        structlog.processors.format_exc_info,
        _printable,
        structlog.processors.LogfmtRenderer(key_order=["ts", "level", "event"]),
    ]


def _printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Escape what a terminal would obey: a name from the API is anybody's text."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(
                char
                if char.isprintable() or char == "\n"
                else char.encode("unicode_escape").decode()
                for char in value
            )
    return event
