"""Structured logs on stderr: logfmt for people, JSON for machines.

Logging never affects behaviour. A line waits in a bounded queue until a thread of its own has
written it, so nobody waits for whoever reads stderr. A line that cannot be written or rendered
is dropped and counted, and no call raises.
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
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["logfmt", "json"]
LogLevel = Literal["debug", "info", "warn", "error"]

MOST_WAITING = 1_000
"""Lines that wait to be written: a burst of one line for each run of a large workspace fits."""

MOST_LINE_BYTES = 16 * 1024
"""Of one line. With `MOST_WAITING` this bounds the queue to 16 MiB; a traceback is shorter."""

FULL_PIPE_PATIENCE = 1.0
"""Seconds to wait for room in a pipe that does not block, before its line is dropped."""

EXIT_PATIENCE = 1.0
"""Seconds that the end of the process waits for lines to be written: a reader takes them at once,
and one that takes none must not hold up the exit."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_SHARED: list[Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
]
"""For our own events and for those of the libraries' loggers."""


class LineWriter:
    """Writes lines to a stream that never blocks, such as one in memory; None: to nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self.dropped = 0
        """Lines that could not be written."""
        self._stream = stream

    def write(self, line: str) -> None:
        """Write a line, or drop and count it; never raises."""
        try:
            if self._stream is not None:
                self._stream.write(_encoded(line).decode())
                return
        except (OSError, ValueError):
            pass
        self.dropped += 1

    def flush(self) -> None:
        """Do nothing: lines are not buffered."""

    def drain(self) -> None:
        """Wait a moment until what was written has left the process."""


class ThreadedWriter(LineWriter):
    """Writes lines to a file descriptor, in a thread of its own."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(None)
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | threading.Event] = queue.Queue(MOST_WAITING)
        self._counting = threading.Lock()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Hand a line to the thread; a line for which the queue has no room is dropped."""
        try:
            self._lines.put_nowait(_encoded(line))
        except queue.Full:
            self._drop()

    def drain(self) -> None:
        """Wait until the lines so far are written, at most `EXIT_PATIENCE`."""
        written = threading.Event()
        try:
            self._lines.put(written, timeout=EXIT_PATIENCE)
        except queue.Full:
            return
        written.wait(EXIT_PATIENCE)

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                self._write(line)
            except OSError:  # no reader, no space, no terminal any more
                self._drop()

    def _write(self, line: bytes) -> None:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another process made the pipe non-blocking
                _, room, _ = select.select((), (self._descriptor,), (), FULL_PIPE_PATIENCE)
                if not room:
                    raise

    def _drop(self) -> None:
        with self._counting:
            self.dropped += 1


_writer = LineWriter(None)


def configure(level: LogLevel, form: LogFormat, stream: TextIO | None = None) -> None:
    """Write events of at least `level` to `stream`, stderr if none is given.

    The libraries' own loggers, Python's warnings and errors that nobody catches go the same way.
    Libraries log from warning on: below that they write requests and headers, of which the API
    key is one.
    """
    global _writer  # noqa: PLW0603 -- a process has one log
    _writer = writer = _writer_for(stream or sys.stderr)
    structlog.configure(
        processors=[_never_raising([*_SHARED, *_renderers(form)])],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]  # writes and flushes
        cache_logger_on_first_use=False,
    )
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(form),
            ],
        )
    )
    handler.addFilter(_is_no_cancelled_request)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    if isinstance(writer, ThreadedWriter):  # what else Python would write to stderr by itself
        logging.captureWarnings(capture=True)
        sys.unraisablehook = _log_unraisable
        threading.excepthook = _log_thread_error


def dropped() -> int:
    """Lines that could not be written since the start."""
    return _writer.dropped


def drain() -> None:
    """Wait a moment until what was logged has left the process."""
    _writer.drain()


def say(line: str) -> None:
    """Write a line for a person to stderr as it is; it waits for no reader for long."""
    writer = _writer if isinstance(_writer, ThreadedWriter) else _writer_for(sys.stderr)
    writer.write(line + "\n")
    writer.drain()


def _writer_for(stream: TextIO | None) -> LineWriter:
    """A thread for what has a descriptor and may block; other streams are written directly."""
    try:
        descriptor = stream.fileno() if stream is not None else None
    except (OSError, ValueError, io.UnsupportedOperation):
        descriptor = None
    if descriptor is None:
        return LineWriter(stream)
    if isinstance(_writer, ThreadedWriter):  # one thread for all: lines keep their order
        return _writer
    writer = ThreadedWriter(descriptor)
    atexit.register(writer.drain)
    return writer


def _encoded(line: str) -> bytes:
    """The line as UTF-8, cut if it is too long."""
    encoded = line.encode("utf-8", "backslashreplace")
    if len(encoded) <= MOST_LINE_BYTES:
        return encoded
    return encoded[:MOST_LINE_BYTES].decode("utf-8", "ignore").encode() + "…\n".encode()


class _Handler(logging.StreamHandler[Any]):
    """Writes the records of the libraries' loggers; one that cannot be written is dropped."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the library's name
        """Count it; the base class would print to stderr, which may block."""
        _writer.dropped += 1


def _is_no_cancelled_request(record: logging.LogRecord) -> bool:
    """False for a request that the end of the process cancels: uvicorn logs each as an error."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, asyncio.CancelledError)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    where = unraisable.err_msg or "in a finalizer"
    logging.getLogger("python").error("error ignored: %s", where, exc_info=unraisable.exc_value)


def _log_thread_error(failed: threading.ExceptHookArgs) -> None:
    logging.getLogger("python").error("thread failed", exc_info=failed.exc_value)


def _never_raising(processors: list[Processor]) -> Processor:
    """The processors as one, which drops and counts an event that they cannot render."""

    def process(logger: WrappedLogger, method: str, event: EventDict) -> Any:
        result: Any = event
        try:
            for processor in processors:
                result = processor(logger, method, result)
        except Exception:  # noqa: BLE001 -- whatever a value's own code raises
            _writer.dropped += 1
            raise structlog.DropEvent from None
        return result

    return process


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
