"""The counters that a scrape shows: after a scraper received 0, and once they are committed."""

import pytest

from cdi_exporter.ledger import IntegrationLedger
from cdi_exporter.model import Counters, Run, Status
from cdi_exporter.snapshot import NOTHING_COUNTED
from cdi_exporter.workspace.publication import Publication
from cdi_exporter.workspace.record import Knowledge
from tests.virtual import EPOCH

COUNTED = Counters(success=3, rows_synced=30)
MORE = Counters(success=4, rows_synced=40)
RUNS = [Run(Status.SUCCESS, EPOCH + number, EPOCH + number + 1) for number in range(5)]


def saved(counters: Counters, *, received: bool = True) -> Knowledge:
    """The record of an integration with these counters in the state file."""
    ledger = IntegrationLedger()
    ledger.counters = counters
    return Knowledge(ledger.state(), zero_served=received)


@pytest.mark.parametrize("keeps_state", [False, True])
def test_counters_are_zero_until_a_scraper_received_them_at_zero(keeps_state: bool) -> None:
    """This includes committed counters."""
    publication = Publication(keeps_state=keeps_state)
    publication.commit(saved(COUNTED))
    assert publication.visible(MORE) == NOTHING_COUNTED
    assert not publication.is_behind(MORE)


def test_without_a_state_file_counters_show_as_they_are_counted() -> None:
    """There are no commits, so scrapes do not wait for any."""
    publication = Publication()
    publication.receive()
    assert publication.visible(COUNTED) == COUNTED
    assert not publication.is_behind(COUNTED)
    assert publication.commit(saved(MORE)) is False
    assert publication.visible(COUNTED) == COUNTED
    assert not publication.unsaved


def test_with_a_state_file_counters_show_once_they_are_committed() -> None:
    """Until then scrapes wait for the commit and show the last committed values."""
    publication = Publication(keeps_state=True)
    publication.receive()
    assert publication.visible(COUNTED) == NOTHING_COUNTED
    assert publication.is_behind(COUNTED)
    assert publication.commit(saved(COUNTED))
    assert publication.visible(COUNTED) == COUNTED
    assert not publication.is_behind(COUNTED)
    assert publication.is_behind(MORE)


def test_counters_committed_before_a_scraper_received_zero_are_not_shown() -> None:
    """Otherwise the series would start above 0 after a restart."""
    publication = Publication(keeps_state=True)
    publication.receive()
    assert not publication.commit(saved(COUNTED, received=False))
    assert publication.visible(COUNTED) == NOTHING_COUNTED


def test_only_the_first_receipt_of_a_zero_is_reported() -> None:
    """Only the first receipt needs to be written."""
    publication = Publication()
    assert publication.receive()
    assert not publication.receive()


@pytest.mark.parametrize(
    ("committed", "shown"),
    [
        pytest.param(saved(MORE), MORE, id="all of it is written"),
        pytest.param(saved(COUNTED), COUNTED, id="an older record is written"),
        pytest.param(saved(COUNTED, received=False), NOTHING_COUNTED, id="from before a scrape"),
        pytest.param(None, NOTHING_COUNTED, id="nothing is written"),
    ],
)
def test_committed_counters_are_shown_after_a_restart(
    committed: Knowledge | None, shown: Counters
) -> None:
    """Counters that wait to be written are not committed yet."""
    publication = Publication.restore(saved(MORE), committed)
    assert publication.received_at_zero
    assert publication.visible(MORE) == shown
    assert not publication.save(saved(MORE)), "it was saved before"


def test_the_same_record_is_saved_only_once() -> None:
    publication = Publication(keeps_state=True)
    assert publication.save(saved(COUNTED))
    assert not publication.save(saved(COUNTED))
    assert publication.save(saved(MORE))


def test_each_run_is_reported_once_however_commits_overlap() -> None:
    """Commits may overlap, and either may end first."""
    publication = Publication(keeps_state=True)
    publication.count(RUNS[:2])
    first = publication.counted_runs
    publication.count(RUNS[2:3])
    second = publication.counted_runs
    assert (first, second) == (2, 3)
    assert publication.report(first) == RUNS[:2]
    publication.count(RUNS[3:])
    assert publication.report(second) == RUNS[2:3]
    assert publication.report(first) == []
    assert publication.counted_runs == 5
    assert publication.report(5) == RUNS[3:]
    assert publication.report(5) == []


def test_with_shared_state_no_counter_is_shown_before_a_commit() -> None:
    """Another exporter may have shown higher values, so scrapes wait for the commit."""
    publication = Publication(keeps_state=True, shared=True)
    assert publication.visible(NOTHING_COUNTED) is None
    assert not publication.is_behind(NOTHING_COUNTED)  # nothing is known yet
    publication.unsaved = True
    assert publication.is_behind(NOTHING_COUNTED)
    publication.unsaved = False
    publication.save(saved(NOTHING_COUNTED, received=False))
    assert publication.is_behind(NOTHING_COUNTED)
    publication.receive()
    assert publication.visible(COUNTED) is None
    assert publication.commit(saved(NOTHING_COUNTED, received=False))
    assert publication.visible(COUNTED) == NOTHING_COUNTED
    assert not publication.commit(saved(NOTHING_COUNTED, received=False))
    assert publication.commit(saved(COUNTED))
    assert publication.visible(MORE) == COUNTED


@pytest.mark.parametrize(("committed", "shown"), [(saved(COUNTED), COUNTED), (None, None)])
def test_counters_committed_by_other_exporters_are_shown(
    committed: Knowledge | None, shown: Counters | None
) -> None:
    publication = Publication.restore(saved(COUNTED), committed, shared=True)
    assert publication.visible(MORE) == shown
