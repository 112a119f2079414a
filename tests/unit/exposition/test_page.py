"""The parts of a page that are kept for the next one, and those that are written again."""

import gzip
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from cdi_exporter import catalog
from cdi_exporter.exposition import (
    Exposition,
    Format,
    own_families,
    process_collectors,
    write_families,
)
from cdi_exporter.exposition import page as exposition_page
from cdi_exporter.exposition.families import Values
from cdi_exporter.exposition.page import MOST_KEPT_LINES
from cdi_exporter.exposition.writer import BLOCK, families_text
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.library_families import workspace_families


def library_page(workspaces: Sequence[WorkspaceSnapshot], *, openmetrics: bool = False) -> bytes:
    """The page as written by prometheus_client."""
    return write_families(workspace_families(workspaces), openmetrics=openmetrics)


def own(failed: int, collectors: Iterable[Collector] = ()) -> list[Family]:
    """The exporter's own families, with this number of failed state writes."""
    values: dict[catalog.Metric, Values] = {
        catalog.CONFIG_RELOAD_SUCCESSFUL: {(): 0},
        catalog.STATE_WRITES_FAILED: {(): failed},
    }
    return list(own_families(values, collectors))


def workspace(count: int, name: str = "w") -> WorkspaceSnapshot:
    """A workspace with this number of integrations."""
    integrations = tuple(
        IntegrationSnapshot(Facts(id=f"{index:032x}", name=f"sync-{index}", running=index))
        for index in range(count)
    )
    return WorkspaceSnapshot(name, integrations=integrations, up=True)


def edited(snapshot: WorkspaceSnapshot, index: int, **changes: Any) -> WorkspaceSnapshot:
    """The workspace with one integration's snapshot replaced."""
    integrations = list(snapshot.integrations)
    integrations[index] = replace(integrations[index], **changes)
    return replace(snapshot, integrations=tuple(integrations))


POOL = [
    IntegrationSnapshot(Facts(id=f"id-{index}", name="n", running=index), refreshed=float(index))
    for index in range(40)
]
EDITS = st.sampled_from(["facts", "refreshed", "up", "remove", "swap", "rename", "workspace"])


def edit(snapshot: WorkspaceSnapshot, kind: str, where: int) -> WorkspaceSnapshot:
    """The workspace after one of several kinds of changes."""
    integrations = list(snapshot.integrations)
    at = where % len(integrations)
    old = integrations[at]
    if kind == "facts":
        integrations[at] = replace(old, facts=replace(old.facts, running=where))
    elif kind == "rename":
        integrations[at] = replace(old, facts=replace(old.facts, name=f"renamed {where}"))
    elif kind == "refreshed":
        integrations[at] = replace(old, refreshed=None if where % 3 else float(where))
    elif kind == "up":
        integrations[at] = replace(old, up=not old.up)
    elif kind == "remove" and len(integrations) > 1:
        del integrations[at]
    elif kind == "swap":
        integrations[at], integrations[0] = integrations[0], integrations[at]
    return replace(snapshot, integrations=tuple(integrations), pending_reads=where)


@given(
    st.integers(1, len(POOL)),
    st.lists(st.tuples(EDITS, st.integers(0, 99), st.booleans()), max_size=6),
)
@settings(deadline=None, max_examples=50)
def test_page_after_any_change_shows_only_the_new_state(
    count: int, edits: list[tuple[str, int, bool]]
) -> None:
    """After any change, kept parts of the previous page never show old values."""
    exposition = Exposition()
    first = WorkspaceSnapshot("first", integrations=tuple(POOL[:count]))
    second = WorkspaceSnapshot("second", integrations=tuple(POOL[count:]))
    for kind, where, openmetrics in edits:
        first = edit(first, kind, where)
        workspaces = [first, second]
        page = exposition.render(workspaces, Format(openmetrics, gzip=True))
        expected = library_page(workspaces, openmetrics=openmetrics)
        assert gzip.decompress(page) == expected
        assert exposition.render(workspaces, Format(openmetrics)) == expected


@pytest.mark.parametrize("form", [Format(), Format(gzip=True), Format(openmetrics=True, gzip=True)])
def test_nothing_is_written_again_while_nothing_changes(
    full: WorkspaceSnapshot, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second page of the same snapshots is taken from the kept parts, even with new own
    metrics.
    """
    written = []

    def counting(*arguments: Any, **keywords: Any) -> Iterator[bytes]:
        written.append(arguments)
        return families_text(*arguments, **keywords)

    monkeypatch.setattr(exposition_page, "families_text", counting)
    exposition = Exposition()
    pages = [exposition.render([full], form, own=own(failed)) for failed in (1, 1, 2)]
    assert len(written) == 1
    assert pages[0] == pages[1] != pages[2]
    exposition.render([replace(full)], form)
    assert len(written) == 2


@pytest.mark.parametrize("count", [BLOCK + 1, MOST_KEPT_LINES + 1])
def test_the_page_after_a_change_of_one_integration_is_correct(count: int) -> None:
    """The page shows the new facts, whether or not the other integrations' lines are kept."""
    exposition = Exposition()
    before = workspace(count)
    exposition.render([before], Format())
    for index in (0, count - 1):
        after = edited(before, index, facts=Facts(id="new", name="new", running=1))
        assert exposition.render([after], Format()) == library_page([after])
    kept = exposition._last[Format()].lines
    assert bool(kept) == (count <= MOST_KEPT_LINES)


def test_lines_of_a_workspace_with_another_name_are_not_used(full: WorkspaceSnapshot) -> None:
    """The same integrations in a renamed workspace have its new name."""
    exposition = Exposition()
    for name in ("one", "other", "one"):
        renamed = replace(full, name=name)
        assert exposition.render([renamed], Format()) == library_page([renamed])


def test_probes_and_whole_pages_do_not_affect_each_other(full: WorkspaceSnapshot) -> None:
    """Pages of one workspace and pages of all, in turn, are each correct."""
    other = workspace(3, "other")
    exposition = Exposition()
    for _ in range(2):
        assert exposition.render([full, other], Format()) == library_page([full, other])
        assert exposition.render([other], Format()) == library_page([other])
        other = edited(other, 1, up=False)


def test_a_change_is_shown_whichever_format_is_requested_first(full: WorkspaceSnapshot) -> None:
    exposition = Exposition()
    exposition.render([full], Format())
    exposition.render([full], Format(openmetrics=True))
    changed = replace(full, pending_reads=99)
    for openmetrics in (True, False):
        page = exposition.render([changed], Format(openmetrics))
        assert page == library_page([changed], openmetrics=openmetrics)


def test_snapshots_of_the_same_name_do_not_affect_each_other() -> None:
    """Another snapshot with the same name, older or newer, has its own page."""
    long, short = workspace(33), workspace(1)
    exposition = Exposition()
    for snapshot in (long, short, long):
        assert exposition.render([snapshot], Format()) == library_page([snapshot])


def test_only_the_last_page_of_each_format_is_kept(full: WorkspaceSnapshot) -> None:
    """A snapshot that is no longer on any page is not kept in memory."""
    old, new = replace(full), replace(full, up=True)
    exposition = Exposition()
    for form in (Format(), Format(gzip=True)):
        exposition.render([old], form)
        exposition.render([new], form)
    assert all(old not in page.snapshots for page in exposition._last.values())


@pytest.mark.parametrize("count", [0, 1, 100, 600])
def test_gzip_is_one_member(count: int) -> None:
    """For any size, the compressed page is one gzip member without anything after it."""
    rng = random.Random(count)
    integrations = tuple(
        IntegrationSnapshot(
            Facts(id=f"{rng.getrandbits(128):032x}", name=rng.randbytes(20).hex()), rng.random()
        )
        for _ in range(count)
    )
    snapshot = WorkspaceSnapshot("w", integrations=integrations)
    page = Exposition().render([snapshot], Format(gzip=True), own=own(2))
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = reader.decompress(page)
    assert reader.eof
    assert reader.unused_data == b""
    assert text == library_page([snapshot]) + write_families(own(2), openmetrics=False)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_own_families_follow_and_the_end_marker_comes_once(
    full: WorkspaceSnapshot, openmetrics: bool
) -> None:
    """The exporter's own families follow those of the workspaces, and `# EOF` is at the end."""
    exposition = Exposition()
    for failed in (1, 2):
        page = exposition.render([full], Format(openmetrics), own=own(failed))
        families = [*workspace_families([full]), *own(failed)]
        assert page == write_families(families, openmetrics=openmetrics)
        assert page.count(b"# EOF") == openmetrics
        assert f"cdi_exporter_state_writes_failed_total {failed}.0\n".encode() in page
        assert b"cdi_exporter_config_last_reload_successful 0.0\n" in page
        assert b"reload_success_timestamp" not in page


def test_process_families_are_rendered_without_a_registry() -> None:
    """The process collectors provide their families without being registered."""
    page = Exposition().render([], Format(), own=own(0, process_collectors())).decode()
    assert "\nprocess_resident_memory_bytes " in page
    assert "\npython_info{" in page


def test_each_thread_gets_the_page_of_its_snapshot() -> None:
    """Concurrent requests in any format for changing snapshots get correct pages."""
    start = workspace(32)
    snapshots = [edited(start, index, refreshed=float(index)) for index in range(16)]
    exposition = Exposition()

    def correct(index: int) -> bool:
        snapshot = snapshots[index % len(snapshots)]
        openmetrics, packed = bool(index % 2), bool(index % 3)
        page = exposition.render([snapshot], Format(openmetrics, packed))
        text = gzip.decompress(page) if packed else page
        return text == library_page([snapshot], openmetrics=openmetrics)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(correct, range(64)))
