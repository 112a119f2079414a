"""Structured logs on stderr, as logfmt or JSON.

Logging never blocks or raises an error. Lines wait in a bounded queue for a thread that writes
them, so a slow reader of stderr does not delay the exporter. A line that cannot be rendered or
written is dropped and counted.
"""

import asyncio
import atexit
import io
import logging
import os
import queue
import select
import sys
import threading
from typing import Literal, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["logfmt", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]

MOST_WAITING = 1_000
"""Lines in the queue: enough for one line for each run of a large workspace at once."""

MOST_LINE_BYTES = 16 * 1024
"""Size limit of a line: longer than a traceback, and `MOST_WAITING` lines have at most 16 MiB."""

FULL_PIPE_PATIENCE = 1.0
"""Seconds to wait for space in a full non-blocking pipe before a line is dropped."""

EXIT_PATIENCE = 1.0
"""Seconds to wait at exit for lines to be written. A normal reader takes them immediately; one that
does not read must not delay the exit."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
Stream = TextIO | io.TextIOBase

OWN_LOGGER = "cdi_exporter"
"""Name of the logger for the exporter's own events."""

_SHARED: list[Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
]
"""Applied to the exporter's own events and to those of libraries."""


class LineWriter:
    """Writes lines to a file descriptor, in a separate thread, or directly to a stream.

    The stream must not block; it is used if there is no descriptor. Without either, all lines are
    dropped.
    """

    def __init__(self, descriptor: int | None = None, stream: Stream | None = None) -> None:
        self.dropped = 0
        """Number of lines that could not be written."""
        self.descriptor = descriptor
        self._stream = stream
        self._lines: queue.Queue[bytes | threading.Event] = queue.Queue(MOST_WAITING)
        self._counting = threading.Lock()
        if descriptor is not None:
            threading.Thread(target=self._run, args=(descriptor,), name="log", daemon=True).start()
            atexit.register(self.drain)

    def write(self, line: str) -> None:
        """Write or queue a line. If that fails, or the queue is full, drop and count it."""
        encoded = _encoded(line)
        try:
            if self.descriptor is not None:
                self._lines.put_nowait(encoded)
            elif self._stream is not None:
                self._stream.write(encoded.decode())
            else:
                self.drop()
        except (queue.Full, OSError, ValueError):
            self.drop()

    def drain(self) -> None:
        """Wait until all queued lines are written, at most `EXIT_PATIENCE`."""
        if self.descriptor is None:
            return
        written = threading.Event()
        try:
            self._lines.put(written, timeout=EXIT_PATIENCE)
        except queue.Full:
            return
        written.wait(EXIT_PATIENCE)

    def drop(self) -> None:
        """Count a line that could not be written."""
        with self._counting:
            self.dropped += 1

    def _run(self, descriptor: int) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                _write(descriptor, line)
            except OSError:  # stderr was closed, or its disk is full
                self.drop()


def _write(descriptor: int, line: bytes) -> None:
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # another process made the pipe non-blocking
            _, room, _ = select.select((), (descriptor,), (), FULL_PIPE_PATIENCE)
            if not room:
                raise


_writer = LineWriter()


def configure(level: LogLevel, form: LogFormat, stream: Stream | None = None) -> None:
    """Write events of at least `level` to `stream`, by default stderr.

    Warnings and errors of Python, of libraries and of threads are written, too. The debug and info
    messages of libraries are not: they may contain headers, such as the API key.
    """
    global _writer  # noqa: PLW0603 -- a process has one log
    _writer = _writer_for(stream or sys.stderr)
    structlog.configure(
        processors=[*_SHARED, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: logging.getLogger(OWN_LOGGER),
        cache_logger_on_first_use=False,
    )
    renderers = [ProcessorFormatter.remove_processors_meta, *_renderers(form)]
    handler = _Handler()
    handler.setFormatter(ProcessorFormatter(foreign_pre_chain=_SHARED, processors=renderers))
    handler.addFilter(_is_not_cancelled_request)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(OWN_LOGGER).setLevel(logging.DEBUG)
    if _writer.descriptor is not None:  # Python would write these to stderr directly
        logging.captureWarnings(capture=True)
        sys.unraisablehook = _log_unraisable
        threading.excepthook = _log_thread_error


def dropped() -> int:
    """Number of lines that could not be written since the start."""
    return _writer.dropped


def say(line: str) -> None:
    """Write a line to stderr without log format, and wait a moment for a slow reader."""
    writer = _writer if _writer.descriptor is not None else _writer_for(sys.stderr)
    writer.write(line + "\n")
    writer.drain()


def _writer_for(stream: Stream | None) -> LineWriter:
    try:
        descriptor = stream.fileno() if stream is not None else None
    except (OSError, ValueError):  # a stream in memory
        descriptor = None
    if descriptor is not None and _writer.descriptor is not None:
        return _writer  # one thread, so that lines stay in order
    return LineWriter(descriptor, stream)


def _encoded(line: str) -> bytes:
    """The line as UTF-8, shortened if it is too long."""
    encoded = line.encode("utf-8", "backslashreplace")
    if len(encoded) <= MOST_LINE_BYTES:
        return encoded
    return encoded[:MOST_LINE_BYTES].decode("utf-8", "ignore").encode() + "…\n".encode()


class _Handler(logging.Handler):
    """Renders and writes events; drops and counts those that cannot be rendered."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event."""
        try:
            _writer.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 -- the methods of a value may raise any error
            _writer.drop()


def _is_not_cancelled_request(record: logging.LogRecord) -> bool:
    """False for a request that was cancelled at exit, which uvicorn logs as an error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, asyncio.CancelledError)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    where = unraisable.err_msg or "in a finalizer"
    logging.getLogger("python").error("error ignored: %s", where, exc_info=unraisable.exc_value)


def _log_thread_error(failed: threading.ExceptHookArgs) -> None:
    logging.getLogger("python").error("thread failed", exc_info=failed.exc_value)


def _renderers(form: LogFormat) -> list[Processor]:
    if form == "json":
        # Local variables may contain the API key.
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
    """Escape control characters: names from the API may contain terminal sequences."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(
                char
                if char.isprintable() or char == "\n"
                else char.encode("unicode_escape").decode()
                for char in value
            )
    return event
