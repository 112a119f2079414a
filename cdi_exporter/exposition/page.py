"""Pages of the exposition: each is one stream, and the last one of each format is kept."""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric as Family

from cdi_exporter.exposition.families import write_families
from cdi_exporter.exposition.negotiation import Format
from cdi_exporter.exposition.writer import (
    IntegrationLines,
    families_text,
    integration_lines,
    same_objects,
)
from cdi_exporter.snapshot import WorkspaceSnapshot

LEVEL = 3
"""Compression level: as fast as level 1, and smaller. From level 4 on, zlib takes twice the
time."""

MOST_KEPT_LINES = 2_000
"""Most integrations of a page whose lines are kept for the next page: about 11 MB. They save half
of the time of a page on which little changed."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""The header of a gzip member without name and time (RFC 1952). A page is one member, because many
clients read only one."""

_Lines = Mapping[str, Sequence[IntegrationLines]]


@dataclass(frozen=True, slots=True)
class _Page:
    """The snapshots of workspaces in one format, without the end of the page."""

    snapshots: tuple[WorkspaceSnapshot, ...]
    lines: _Lines
    """The lines by workspace, to be used again by the next page."""
    written: bytes
    """The text; if compressed, so that more can follow."""
    text_bytes: int = 0
    text_crc: int = 0

    def ended_with(self, tail: bytes, form: Format) -> bytes:
        """The whole page, with the text `tail` at its end."""
        if not form.gzip:
            return self.written + tail
        # A new compressor: copying the one of the page would take five times as long.
        end = _compressor()
        size = (self.text_bytes + len(tail)) & 0xFFFFFFFF
        trailer = struct.pack("<II", zlib.crc32(tail, self.text_crc), size)
        return b"".join((_GZIP_HEADER, self.written, end.compress(tail), end.flush(), trailer))


def _compressor() -> "zlib._Compress":
    return zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)


def _page(snapshots: tuple[WorkspaceSnapshot, ...], form: Format, kept: _Lines) -> _Page:
    keep = sum(len(each.integrations) for each in snapshots) <= MOST_KEPT_LINES
    lines = {
        each.name: integration_lines(each, kept.get(each.name, ()), keep=keep) for each in snapshots
    }
    families = families_text(snapshots, [*lines.values()], openmetrics=form.openmetrics)
    kept_lines = lines if keep else {}
    if not form.gzip:
        return _Page(snapshots, kept_lines, b"".join(families))
    compressor, packed, size, crc = _compressor(), [], 0, 0
    for text in families:
        packed.append(compressor.compress(text))
        size, crc = size + len(text), zlib.crc32(text, crc)
    packed.append(compressor.flush(zlib.Z_FULL_FLUSH))  # to the end of a byte (RFC 1951)
    return _Page(snapshots, kept_lines, b"".join(packed), size, crc)


class Exposition:
    """Writes snapshots as bytes; may be called from several threads.

    The last page of each format is kept, and used again while the snapshots are the same objects.
    """

    def __init__(self) -> None:
        self._last: dict[Format, _Page] = {}

    def render(
        self, workspaces: Sequence[WorkspaceSnapshot], form: Format, *, own: Iterable[Family] = ()
    ) -> bytes:
        """The page of these workspaces, followed by the families `own`.

        In UTF-8, or as one gzip member. Workspaces have different names. The library writes `own`
        at each call.
        """
        snapshots = tuple(workspaces)
        page = self._last.get(form)
        if page is None or not same_objects(page.snapshots, snapshots):
            page = _page(snapshots, form, page.lines if page else {})
            self._last[form] = page
        return page.ended_with(write_families(own, openmetrics=form.openmetrics), form)
