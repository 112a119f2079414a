"""Findings about the key and its permissions: 401, 403 and 404, each with advice."""

import pytest

from cdi_exporter.check.report import Granted, Level
from cdi_exporter.config import ConfiguredIntegration
from cdi_exporter.problems import HISTORY_PERMISSION, LIST_PERMISSION
from tests.harness import scripted
from tests.simulator import PERMISSIONS
from tests.unit.check.checking import codes, finding, one, simulated

ONE = (ConfiguredIntegration("one"),)


def test_a_working_key_gives_no_finding() -> None:
    """The report has the last run of each integration, and no finding."""
    found = one(simulated(scripted("one", runs=3), scripted("two", runs=3)))
    assert found.ok
    assert found.findings == ()
    assert found.key_works is True
    assert found.permissions == {LIST_PERMISSION: Granted.YES, HISTORY_PERMISSION: Granted.YES}
    assert found.list_complete
    assert [each.integration_name for each in found.watched] == ["sync-one", "sync-two"]
    last = found.watched[0].last_run
    assert last is not None
    assert (last.status, last.rows_synced, last.duration_seconds) == ("success", 100, 60.0)


def test_an_unknown_key_is_an_error_and_nothing_more_is_requested() -> None:
    """After a 401 both permissions are unknown, and no further request is sent."""
    simulator = simulated(scripted("one", runs=3))
    simulator.key = "another"
    found = one(simulator, endpoint="https://rest.iad-03.braze.com")
    assert not found.ok
    assert found.key_works is False
    assert found.permissions == dict.fromkeys(PERMISSIONS.values(), Granted.UNKNOWN)
    said = finding(found, "unauthorized")
    assert "US-03" in said.text
    assert "dashboard-03.braze.com" in said.advice
    assert simulator.statuses == {401: 1}


@pytest.mark.parametrize("integrations", [None, ONE])
def test_a_missing_list_permission_is_an_error_only_for_discovery(
    integrations: tuple[ConfiguredIntegration, ...] | None,
) -> None:
    """A 403 for the list is an error if the integrations are discovered, else a note."""
    found = one(
        simulated(scripted("one", runs=3), permissions=[HISTORY_PERMISSION]),
        integrations=integrations,
    )
    assert found.key_works is True
    assert found.permissions is not None
    assert found.permissions[LIST_PERMISSION] is Granted.NO
    said = finding(found, "list_forbidden")
    assert LIST_PERMISSION in said.text
    if integrations is None:
        assert not found.ok
        assert said.level is Level.ERROR
        assert found.permissions[HISTORY_PERMISSION] is Granted.LIKELY
        assert "IDs in the configuration" in said.advice
    else:
        assert found.ok
        assert said.level is Level.NOTE
        assert found.permissions[HISTORY_PERMISSION] is Granted.YES
        assert found.watched[0].last_run is not None


def test_a_missing_history_permission_is_an_error_and_named() -> None:
    """After a 403 for a history the permission is named, and no other history is requested."""
    several = [scripted(f"i{each}", runs=3) for each in range(9)]
    simulator = simulated(*several, permissions=[LIST_PERMISSION])
    found = one(simulator)
    assert not found.ok
    assert found.permissions == {LIST_PERMISSION: Granted.YES, HISTORY_PERMISSION: Granted.NO}
    assert codes(found) == ["history_forbidden"]
    assert HISTORY_PERMISSION in found.findings[0].text
    assert simulator.statuses == {200: 1, 403: 1}
    assert all(each.last_run is not None for each in found.watched), "as the list has them"


def test_two_missing_permissions_are_one_finding() -> None:
    """One finding names both permissions, because one new key solves both."""
    found = one(simulated(scripted("one"), permissions=[]))
    assert codes(found) == ["forbidden"]
    assert found.permissions == dict.fromkeys(PERMISSIONS.values(), Granted.NO)
    assert found.key_works is True


@pytest.mark.parametrize("permissions", [[LIST_PERMISSION], [*PERMISSIONS.values()]])
def test_the_history_permission_is_found_out_without_any_integration(
    permissions: list[str],
) -> None:
    """For an ID that does not exist, Braze rejects either the ID or the key."""
    found = one(simulated(permissions=permissions))
    assert found.permissions is not None
    granted = HISTORY_PERMISSION in permissions
    wanted = Granted.LIKELY if granted else Granted.NO
    assert found.permissions[HISTORY_PERMISSION] is wanted
    assert finding(found, "no_integrations").level is Level.WARNING
    assert found.ok is granted


def test_an_unknown_integration_is_named() -> None:
    """An ID that the workspace does not have is an error; the other integrations are reported."""
    found = one(
        simulated(scripted("one", runs=3)),
        integrations=(*ONE, ConfiguredIntegration("gone", "users"), ConfiguredIntegration("lost")),
    )
    assert not found.ok
    assert codes(found) == ["integration_unknown"]
    assert "users (gone), lost" in found.findings[0].text
    assert [(each.integration_id, bool(each.problem)) for each in found.watched] == [
        ("lost", True),
        ("gone", True),
        ("one", False),
    ]


def test_many_unknown_integrations_are_counted() -> None:
    """A finding names some of them and counts the others."""
    ids = tuple(ConfiguredIntegration(f"i{each}") for each in range(8))
    found = one(simulated(scripted("one", runs=3)), integrations=ids)
    assert finding(found, "integration_unknown").text.endswith("i0, i1, i2, i3, i4 and 3 more")


def test_excluded_integrations_are_listed_but_not_read() -> None:
    """If the patterns exclude all integrations, the report has a warning."""
    simulator = simulated(scripted("one", runs=3), scripted("two", runs=3))
    found = one(simulator, exclude=("sync-two",))
    assert [(each.integration_id, each.watched) for each in found.integrations] == [
        ("one", True),
        ("two", False),
    ]
    assert simulator.statuses == {200: 2}
    nothing = one(simulated(scripted("one")), include=("orders-*",))
    assert finding(nothing, "all_left_out").level is Level.WARNING
    assert nothing.cost is None
    assert nothing.permissions is not None
    assert nothing.permissions[HISTORY_PERMISSION] is Granted.YES
