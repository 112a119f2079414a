"""What is kept between two pages, and what is made anew."""

import gzip
import random
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter import catalog
from cdi_exporter.exposition import (
    Exposition,
    own_families,
    process_collectors,
    workspace_families,
    write_families,
)
from cdi_exporter.exposition.deflate import Piece
from cdi_exporter.exposition.pages import BLOCK, COMPRESSED_WHOLE
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot


def library_page(workspaces: Sequence[WorkspaceSnapshot], *, openmetrics: bool = False) -> bytes:
    """The page as the library writes it."""
    return write_families(workspace_families(workspaces), openmetrics=openmetrics)


def workspace(count: int, name: str = "w") -> WorkspaceSnapshot:
    """A workspace with so many integrations."""
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


def pieces(exposition: Exposition, metric: catalog.Metric) -> list[Piece | None]:
    """The kept pieces of one family, block by block."""
    index = catalog.PER_INTEGRATION.index(metric)
    return [block.pieces[index] for block in exposition._workspaces["w"].blocks]


POOL = [
    IntegrationSnapshot(Facts(id=f"id-{index}", name="n", running=index), refreshed=float(index))
    for index in range(3 * BLOCK)
]
EDITS = st.sampled_from(["facts", "refreshed", "up", "remove", "swap", "rename", "workspace"])


def edit(snapshot: WorkspaceSnapshot, kind: str, where: int) -> WorkspaceSnapshot:
    """The workspace after one of the things that happen to it."""
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
    st.sampled_from([0, COMPRESSED_WHOLE]),
)
@settings(deadline=None, max_examples=50)
def test_page_after_any_change_is_as_if_written_anew(
    count: int, edits: list[tuple[str, int, bool]], compressed_whole: int
) -> None:
    """Whatever changes between two pages, what is kept never shows on the second one."""
    exposition = Exposition(compressed_whole=compressed_whole)
    first = WorkspaceSnapshot("first", integrations=tuple(POOL[:count]))
    second = WorkspaceSnapshot("second", integrations=tuple(POOL[count:]))
    for kind, where, openmetrics in edits:
        first = edit(first, kind, where)
        workspaces = [first, second]
        page = exposition.render(workspaces, openmetrics=openmetrics, gzip=True)
        expected = library_page(workspaces, openmetrics=openmetrics)
        assert gzip.decompress(page) == expected
        assert exposition.render(workspaces, openmetrics=openmetrics) == expected


def test_only_the_block_of_a_changed_integration_is_written_again() -> None:
    """New facts cost the pieces of their block; all others stay the same objects."""
    snapshot = workspace(3 * BLOCK)
    exposition = Exposition()
    exposition.render([snapshot])
    before = pieces(exposition, catalog.SYNCS_RUNNING)
    exposition.render([edited(snapshot, BLOCK, facts=Facts(id="new", name="new", running=1))])
    after = pieces(exposition, catalog.SYNCS_RUNNING)
    kept = [old is new for old, new in zip(before, after, strict=True)]
    assert kept == [True, False, True]


def test_a_refresh_that_confirms_writes_freshness_alone() -> None:
    """When only `refreshed` moves, no other piece is written again."""
    snapshot = workspace(BLOCK)
    exposition = Exposition()
    exposition.render([snapshot])
    before = list(exposition._workspaces["w"].blocks[0].pieces)
    exposition.render([edited(snapshot, 0, refreshed=1795514400.0)])
    after = exposition._workspaces["w"].blocks[0].pieces
    changed = [
        metric
        for metric, old, new in zip(catalog.PER_INTEGRATION, before, after, strict=True)
        if old is not new
    ]
    assert changed == [catalog.INTEGRATION_LAST_REFRESH]


def test_nothing_is_made_again_while_nothing_changes(full: WorkspaceSnapshot) -> None:
    """The second page of the same snapshot is the first one, also compressed."""
    exposition = Exposition()
    exposition.render([full], gzip=True)
    page = exposition._page((full,), openmetrics=False)
    exposition.render([full], gzip=True)
    assert exposition._page((full,), openmetrics=False) is page
    assert page._text is None, "no text is kept for who asks for gzip alone"


def test_pages_of_a_workspace_alone_and_among_others(full: WorkspaceSnapshot) -> None:
    """A workspace's own page and the page of all are kept side by side."""
    other = workspace(3, "other")
    exposition = Exposition()
    for _ in range(2):
        assert exposition.render([full, other]) == library_page([full, other])
        assert exposition.render([other]) == library_page([other])
        other = edited(other, 1, up=False)


def test_page_written_in_the_second_format_first_after_a_change(full: WorkspaceSnapshot) -> None:
    """A change is seen whichever format is asked for first."""
    exposition = Exposition()
    exposition.render([full])
    exposition.render([full], openmetrics=True)
    changed = replace(full, pending_reads=99)
    for openmetrics in (True, False):
        page = exposition.render([changed], openmetrics=openmetrics)
        assert page == library_page([changed], openmetrics=openmetrics)


def test_workspaces_of_one_name_in_turn_do_not_mix() -> None:
    """Another snapshot under the same name, older or newer, gives its own page."""
    long, short = workspace(2 * BLOCK + 1), workspace(1)
    exposition = Exposition()
    for snapshot in (long, short, long):
        assert exposition.render([snapshot]) == library_page([snapshot])


def test_a_workspace_that_left_is_forgotten(full: WorkspaceSnapshot) -> None:
    """After `retain` nothing is held of a workspace that is not configured any more."""
    other = workspace(3, "other")
    exposition = Exposition()
    exposition.render([full, other])
    exposition.render([other])
    exposition.retain({"other"})
    assert set(exposition._workspaces) == {"other"}
    assert set(exposition._pages) == {("other",)}


@pytest.mark.parametrize(("count", "large"), [(0, False), (1, False), (100, False), (600, True)])
def test_gzip_is_one_member(count: int, large: bool) -> None:
    """Small or large, the compressed page is one gzip member and nothing after it."""
    rng = random.Random(count)
    integrations = tuple(
        IntegrationSnapshot(
            Facts(id=f"{rng.getrandbits(128):032x}", name=rng.randbytes(20).hex()), rng.random()
        )
        for _ in range(count)
    )
    snapshot = WorkspaceSnapshot("w", integrations=integrations)
    own = list(own_families("1", reload_successful=True, reloaded=1.5, state_writes_failed=2))
    page = Exposition().render([snapshot], own=own, gzip=True)
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    text = reader.decompress(page)
    assert reader.eof
    assert reader.unused_data == b""
    assert text == library_page([snapshot]) + write_families(own, openmetrics=False)
    assert (len(text) > COMPRESSED_WHOLE) is large


@pytest.mark.parametrize("openmetrics", [False, True])
def test_own_families_follow_and_the_end_stands_once(
    full: WorkspaceSnapshot, openmetrics: bool
) -> None:
    """The exporter's own families come after the workspaces', and `# EOF` only at the end."""
    exposition = Exposition()
    for failed in (1, 2):
        own = list(
            own_families("1.2", reload_successful=False, reloaded=None, state_writes_failed=failed)
        )
        page = exposition.render([full], own=own, openmetrics=openmetrics)
        families = [*workspace_families([full]), *own]
        assert page == write_families(families, openmetrics=openmetrics)
        assert page.count(b"# EOF") == openmetrics
        assert f"cdi_exporter_state_writes_failed_total {failed}.0\n".encode() in page
        assert b"cdi_exporter_config_last_reload_successful 0.0\n" in page
        assert b"reload_success_timestamp" not in page


def test_process_families_need_no_registry() -> None:
    """The collectors of the process give their families and are registered nowhere."""
    own = own_families(
        "1",
        reload_successful=True,
        reloaded=1.0,
        state_writes_failed=0,
        collectors=process_collectors(),
    )
    page = Exposition().render([], own=own).decode()
    assert "\nprocess_resident_memory_bytes " in page
    assert "\npython_info{" in page


def test_threads_get_the_page_of_the_snapshot_they_gave() -> None:
    """Pages asked for at once, in any format, of changing snapshots, are each right."""
    start = workspace(2 * BLOCK)
    snapshots = [edited(start, index, refreshed=float(index)) for index in range(16)]
    exposition = Exposition()

    def right(index: int) -> bool:
        snapshot = snapshots[index % len(snapshots)]
        openmetrics, packed = bool(index % 2), bool(index % 3)
        page = exposition.render([snapshot], openmetrics=openmetrics, gzip=packed)
        text = gzip.decompress(page) if packed else page
        return text == library_page([snapshot], openmetrics=openmetrics)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(64)))
