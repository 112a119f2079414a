"""The requests of `check` itself: a quarter of the share, whatever there is to read."""

import pytest

from cdi_exporter.config import ConfiguredIntegration, RateLimits, Refresh
from tests.harness import scripted, workspace
from tests.simulator import HISTORY, LIST, Fault, FaultKind, RetryHeader, many
from tests.unit.check.checking import checked, codes, finding, one, simulated
from tests.virtual import EPOCH


def test_a_large_workspace_takes_no_more_than_a_quarter() -> None:
    """The whole list is read page by page; only as many histories as need no waiting."""
    simulator = simulated(*many(300, seed=1))
    found = one(simulator)
    assert found.list_complete
    assert len(found.watched) == 300
    assert simulator.too_many == 0
    assert len(simulator.traffic[LIST].times) == 30
    assert simulator.traffic[LIST].busiest() <= 10
    assert len(simulator.traffic[HISTORY].times) == 20
    assert finding(found, "histories_not_read").text.startswith("280 histories were not read")
    assert sum(each.last_run is not None for each in found.watched) > 200


def test_unlisted_failed_and_newest_histories_are_read_first() -> None:
    """First configured integrations that are not in the list, then failed runs, then the newest."""
    several = [scripted(f"i{each:02}", runs=3) for each in range(30)]
    several[7].run(EPOCH - 500, EPOCH - 400, "error")
    several[3].run(EPOCH - 300, EPOCH - 200)
    simulator = simulated(*several)
    names = tuple(ConfiguredIntegration(each.id) for each in several)
    found = one(simulator, integrations=(*names, ConfiguredIntegration("unlisted")))
    asked = [each.integration_id for each in simulator.traffic[HISTORY].recent]
    assert asked[:3] == ["unlisted", "i07", "i03"]
    assert len(asked) == 20
    assert codes(found) == ["integration_unknown", "histories_not_read"]


def test_a_small_share_still_allows_requests() -> None:
    """A quarter of one request is rounded up to one."""
    refresh = Refresh(rate_limit_share=0.02, rate_limits=RateLimits(50, 50))
    simulator = simulated(*(scripted(f"i{each}", runs=3) for each in range(15)))
    found = one(simulator, refresh=refresh)
    assert found.list_complete
    assert len(simulator.traffic[HISTORY].times) == 1
    assert simulator.traffic[LIST].busiest() == 1


@pytest.mark.parametrize("retry_header", ["retry-after", "x-ratelimit-retry-after", "reset"])
def test_check_waits_for_a_limit_that_others_have_spent(retry_header: RetryHeader) -> None:
    """A 429 does not show whether the key works: the request is repeated after the wait."""
    spent = Fault(EPOCH - 10, EPOCH + 1, FaultKind.OTHER_TOOL, per_minute=600)
    simulator = simulated(
        scripted("one", runs=3), faults=[spent], retry_header=retry_header, limit_window="fixed"
    )
    found = one(simulator)
    assert found.ok
    assert simulator.statuses == {429: 1, 200: 2}


def test_a_limit_that_remains_spent_is_an_error() -> None:
    """The check ends with an error that names the cause."""
    others = Fault(EPOCH - 60, EPOCH + 9_999, FaultKind.OTHER_TOOL, per_minute=200)
    found = one(simulated(scripted("one", runs=3), faults=[others]))
    assert not found.ok
    assert "another tool" in finding(found, "rate_limited").advice
    assert found.key_works is None


def test_workspaces_with_one_key_share_one_budget() -> None:
    """Two workspaces with the same endpoint and key have one client, and a note each."""
    simulator = simulated(*many(60, seed=1))
    twins = [workspace(name, endpoint="https://one.test") for name in ("east", "west")]
    report = checked(simulator, simulator, workspaces=twins)
    assert simulator.traffic[LIST].busiest() <= 10
    assert simulator.traffic[HISTORY].busiest() <= 20
    for found, other in zip(report.workspaces, ("west", "east"), strict=True):
        assert other in finding(found, "budget_shared").text
        assert found.cost is not None
        assert found.cost.integrations.budget_per_minute == 20


def test_workspaces_do_not_hide_one_another() -> None:
    """A failing workspace fails the check; the other one is reported as well."""
    working = simulated(scripted("one", runs=3))
    refused = simulated(scripted("two", runs=3), permissions=[])
    report = checked(working, refused)
    assert [each.ok for each in report.workspaces] == [True, False]
    assert not report.ok


def test_offline_sends_no_request() -> None:
    """Only the configuration is checked: a wrong endpoint is still reported."""
    simulator = simulated(scripted("one", runs=3))
    config = workspace(endpoint="https://dashboard-03.braze.com")
    report = checked(simulator, workspaces=[config], offline=True)
    assert not simulator.statuses
    assert report.ok
    assert report.offline
    (found,) = report.workspaces
    assert found.permissions is None
    assert "rest.iad-03.braze.com" in finding(found, "no_rest_endpoint").advice
