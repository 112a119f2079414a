"""Pages of the exposition, of which only what changed is written and compressed again.

Integrations are taken in blocks of a few, and each block has one compressed piece per
family, since the lines of a family must stay together. A piece is kept while the facts of
its block are the same objects. No text is kept for a page that is asked for compressed: at
10,000 integrations it would be about 50 MB, against 10 MB for the pieces.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter, is_
from threading import Lock

from prometheus_client.core import Metric as Family

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.deflate import Packer, Piece, gzip_member, joined
from cdi_exporter.exposition.families import write_families
from cdi_exporter.exposition.samples import FRESHNESS
from cdi_exporter.exposition.writer import IntegrationLines, header, workspace_lines
from cdi_exporter.snapshot import IntegrationSnapshot, WorkspaceSnapshot

BLOCK = 16
"""Integrations per piece: more compress better, fewer leave more as it was."""

COMPRESSED_WHOLE = 1 << 20
"""Bytes of text up to which a page is compressed anew as a whole: a third of the size."""

_facts = attrgetter("facts")
_INDEX = {metric: index for index, metric in enumerate(catalog.PER_INTEGRATION)}


@cache
def _header(metric: Metric, openmetrics: bool) -> Piece:
    return Packer().piece(header(metric, openmetrics=openmetrics))


def _same(old: Sequence[object], new: Sequence[object]) -> bool:
    return len(old) == len(new) and all(map(is_, old, new))


class _Block:
    """A few integrations of one workspace: a piece per family of `PER_INTEGRATION`."""

    __slots__ = ("_integrations", "_lines", "pieces")

    def __init__(self) -> None:
        self._integrations: tuple[IntegrationSnapshot, ...] = ()
        self._lines = IntegrationLines("", ())
        self.pieces: list[Piece | None] = [None] * len(catalog.PER_INTEGRATION)

    def update(
        self, workspace: str, integrations: tuple[IntegrationSnapshot, ...], packer: Packer
    ) -> None:
        old = self._integrations
        if _same(old, integrations):
            return
        if _same([*map(_facts, old)], [*map(_facts, integrations)]):
            changed = [
                metric
                for metric, read in FRESHNESS.items()
                if [*map(read, old)] != [*map(read, integrations)]
            ]
        else:
            changed = [*catalog.PER_INTEGRATION]
            self._lines = IntegrationLines(workspace, [*map(_facts, integrations)])
        for metric in changed:
            text = self._lines.of_family(metric, integrations)
            self.pieces[_INDEX[metric]] = packer.piece(text) if text else None
        self._integrations = integrations


class _Workspace:
    """What is kept of one workspace: the same for every page that it stands on."""

    def __init__(self) -> None:
        self._snapshot: WorkspaceSnapshot | None = None
        self.blocks: list[_Block] = []
        self.lines: list[bytes] = []

    def update(self, snapshot: WorkspaceSnapshot) -> None:
        if snapshot is self._snapshot:
            return
        self.lines = workspace_lines(snapshot)
        starts = range(0, len(snapshot.integrations), BLOCK)
        self.blocks = self.blocks[: len(starts)]
        self.blocks += [_Block() for _ in range(len(starts) - len(self.blocks))]
        packer = Packer()
        for block, start in zip(self.blocks, starts, strict=True):
            block.update(snapshot.name, snapshot.integrations[start : start + BLOCK], packer)
        self._snapshot = snapshot


def _pieces(workspaces: Sequence[_Workspace], openmetrics: bool) -> Iterator[Piece]:
    for index, metric in enumerate(catalog.PER_INTEGRATION):
        found = [
            piece
            for workspace in workspaces
            for block in workspace.blocks
            if (piece := block.pieces[index])
        ]
        if found:
            yield _header(metric, openmetrics)
            yield from found
    text = bytearray()
    for index, metric in enumerate(catalog.PER_WORKSPACE):
        lines = b"".join(workspace.lines[index] for workspace in workspaces)
        if lines:
            text += header(metric, openmetrics=openmetrics) + lines
    yield Packer().piece(bytes(text))


class _Page:
    """Some workspaces' snapshots in one format, compressed and, once asked for, as text."""

    def __init__(self, pieces: Iterable[Piece], compressed_whole: int) -> None:
        whole = joined(pieces)
        small = whole.length <= compressed_whole
        self.packed = Packer().piece(whole.text()) if small else whole
        self._text: bytes | None = None

    def text(self) -> bytes:
        if self._text is None:
            self._text = self.packed.text()
        return self._text


class Exposition:
    """Writes snapshots as bytes; may be called from several threads.

    Nothing is written again while the snapshots are the same objects, and what is kept of
    a workspace lives until `retain` is called without it.
    """

    def __init__(self, *, compressed_whole: int = COMPRESSED_WHOLE) -> None:
        self._compressed_whole = compressed_whole
        self._lock = Lock()
        self._workspaces: dict[str, _Workspace] = {}
        self._pages: dict[
            tuple[str, ...], tuple[tuple[WorkspaceSnapshot, ...], dict[bool, _Page]]
        ] = {}

    def render(
        self,
        workspaces: Sequence[WorkspaceSnapshot],
        *,
        own: Iterable[Family] = (),
        openmetrics: bool = False,
        gzip: bool = False,
    ) -> bytes:
        """The page of these workspaces and, after them, of the families `own`.

        Text 0.0.4 or OpenMetrics 1.0.0, in UTF-8 or as one gzip member. Workspaces have
        different names. `own` is written anew by the library at each call.
        """
        tail = write_families(own, openmetrics=openmetrics)
        with self._lock:
            page = self._page(tuple(workspaces), openmetrics)
            if not gzip:
                text = page.text()
        return gzip_member(page.packed, tail) if gzip else text + tail

    def retain(self, names: Collection[str]) -> None:
        """Forgets what is kept of all workspaces but these: for a new configuration."""
        with self._lock:
            self._workspaces = {
                name: kept for name, kept in self._workspaces.items() if name in names
            }
            self._pages = {
                key: kept for key, kept in self._pages.items() if all(name in names for name in key)
            }

    def _page(self, snapshots: tuple[WorkspaceSnapshot, ...], openmetrics: bool) -> _Page:
        key = tuple(snapshot.name for snapshot in snapshots)
        shown, pages = self._pages.get(key, ((), {}))
        if not _same(shown, snapshots):
            pages = {}
            self._pages[key] = (snapshots, pages)
        if openmetrics not in pages:
            kept = [self._workspaces.setdefault(name, _Workspace()) for name in key]
            for workspace, snapshot in zip(kept, snapshots, strict=True):
                workspace.update(snapshot)
            pages[openmetrics] = _Page(_pieces(kept, openmetrics), self._compressed_whole)
        return pages[openmetrics]
