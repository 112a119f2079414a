"""The status of integrations and workspaces at a given time."""

from dataclasses import replace

import pytest

from cdi_exporter.model import Run, Status
from cdi_exporter.snapshot import Facts, IntegrationSnapshot
from cdi_exporter.web.status import (
    FILTERS,
    SILENT_AFTER,
    IntegrationStatus,
    WorkspaceStatus,
    shows,
)
from tests.shown import HOUR, MINUTE, NOW, ShownWorkspace, exchange, facts, run, workspace


def judged(shown: Facts | IntegrationSnapshot) -> IntegrationStatus:
    snapshot = shown if isinstance(shown, IntegrationSnapshot) else IntegrationSnapshot(shown, NOW)
    return IntegrationStatus(snapshot, NOW)


def status(shown: ShownWorkspace) -> WorkspaceStatus:
    return WorkspaceStatus(shown.snapshot(), shown.recent(), NOW)


def test_an_integration_is_late_once_its_delivery_is_older_than_its_limit() -> None:
    """At the limit the integration is on time. A second later it is late, with the reason."""
    at_the_limit = judged(facts("a", None, run(ago=HOUR), stale_after=HOUR))
    after = judged(facts("a", None, run(ago=HOUR + 1), stale_after=HOUR))
    assert not at_the_limit.late
    assert after.late
    assert after.concerns["late"] == "No delivery for 1 h; late after 1 h."


def test_a_partial_run_is_a_delivery() -> None:
    """Its rows arrived, so the integration is not late."""
    shown = judged(
        facts("a", None, run(ago=3 * HOUR), run(Status.PARTIAL, ago=60), stale_after=HOUR)
    )
    assert not shown.late
    assert shown.delivery_age == 60
    assert shown.success_age == 3 * HOUR


def test_without_any_delivery_the_age_is_measured_from_the_oldest_run() -> None:
    """An integration that never delivered becomes late as well."""
    never = judged(facts("a", None, run(Status.ERROR, ago=2 * HOUR, took=60), stale_after=HOUR))
    assert never.success_age == never.delivery_age == 2 * HOUR + 60
    assert never.concerns["late"] == "No delivery in the known 2 h 1 min; late after 1 h."


@pytest.mark.parametrize("limit", [None, 0.0])
def test_without_a_limit_nothing_is_late(limit: float | None) -> None:
    """The integration has no schedule, or its limit is `after: never`."""
    assert not judged(facts("a", None, run(ago=1e9), stale_after=limit)).late


@pytest.mark.parametrize(
    ("running_for", "typical", "hangs"),
    [
        (HOUR, 60.0, False),
        (HOUR + 1, 60.0, True),
        (HOUR + 1, HOUR, False),
        (3 * HOUR + 1, HOUR, True),
        (6 * HOUR, None, False),
        (6 * HOUR + 1, None, True),
    ],
)
def test_a_run_is_stuck_after_three_typical_durations_and_an_hour(
    running_for: float, typical: float | None, hangs: bool
) -> None:
    """Without a typical duration it is stuck after six hours."""
    shown = judged(facts("a", running=1, running_since=NOW - running_for, typical_duration=typical))
    assert shown.hanging is hangs
    assert ("hanging" in shown.concerns) is hangs


def test_a_running_run_without_a_start_is_not_stuck() -> None:
    """Without a start its age is unknown."""
    shown = judged(facts("a", running=1, running_since=None))
    assert shown.running
    assert not shown.hanging


@pytest.mark.parametrize(
    ("last", "failures", "words"),
    [
        (run(Status.ERROR), 1, "The last run failed: no rows were synced."),
        (run(Status.ERROR), 4, "The last 4 runs failed."),
        (run(Status.ERROR), None, "The last run failed: no rows were synced."),
        (
            run(Status.CONFIG_ERROR),
            2,
            "Its configuration in Braze is wrong; correct it in Braze.",
        ),
        (
            run(Status.PARTIAL, failed=1),
            0,
            "1 row of the last run failed and is not in Braze.",
        ),
        (
            run(Status.PARTIAL, failed=1_204),
            0,
            "1,204 rows of the last run failed and are not in Braze.",
        ),
        (run(Status.PARTIAL, failed=None), 0, "Some rows of the last run failed."),
    ],
)
def test_a_run_that_did_not_succeed_is_described(
    last: Run, failures: int | None, words: str
) -> None:
    """Each bad status has its own sentence."""
    shown = judged(facts("a", None, run(), last, consecutive_failures=failures))
    assert shown.concerns == {last.status.value: words}


def test_success_needs_no_attention() -> None:
    assert not judged(facts("a", None, run(), run())).concerns


@pytest.mark.parametrize(
    ("last", "failures", "words"),
    [
        (
            run(Status.UNKNOWN, word="limit_exceeded"),
            0,
            "The last run has the status limit_exceeded, which this version does not know.",
        ),
        (
            run(Status.UNKNOWN, word="Canceled"),
            3,
            (
                "The last run has the status Canceled, which this version does not know. "
                "3 runs failed since the last delivery."
            ),
        ),
        (run(Status.UNKNOWN), None, "Braze reports no status for the last run."),
    ],
)
def test_an_unknown_status_needs_attention(last: Run, failures: int | None, words: str) -> None:
    """The page shows Braze's own text. An unknown status does not reset the failure count."""
    shown = judged(facts("a", None, run(), last, consecutive_failures=failures))
    assert shown.concerns == {"unknown": words}


def test_an_unknown_status_of_a_run_in_progress_needs_attention() -> None:
    """It is unknown whether such a run has ended."""
    shown = judged(facts("a", None, run(), running=1, running_job_status="limit_exceeded"))
    assert shown.concerns == {
        "unknown": "A run in progress has the status limit_exceeded, "
        "which this version does not know."
    }


@pytest.mark.parametrize(("ahead", "concerned"), [(-HOUR, False), (240, False), (HOUR, True)])
def test_a_watermark_in_the_future_needs_attention(ahead: float, concerned: bool) -> None:
    """Braze skips all older rows. A difference of a few minutes between clocks is ignored."""
    shown = judged(facts("a", None, run(), watermark=NOW + ahead))
    assert ("watermark" in shown.concerns) is concerned
    if concerned:
        assert (
            shown.concerns["watermark"]
            == "Its watermark is 1 h in the future: Braze skips all older rows."
        )


def test_an_integration_whose_own_request_failed_shows_why() -> None:
    shown = IntegrationSnapshot(facts("a"), None, up=False, problem="404: not found")
    assert judged(shown).concerns == {"unreadable": "Its history cannot be read: 404: not found."}


def test_the_failed_ratio_is_none_without_rows() -> None:
    assert run(rows=3, failed=1).failed_ratio == 0.25
    assert run(rows=0, failed=0).failed_ratio is None
    assert run(rows=None).failed_ratio is None


def test_the_most_urgent_comes_first() -> None:
    """The order is late, misconfigured, failed, unknown, partial, well."""
    late = judged(facts("late", None, run(ago=HOUR), stale_after=60.0))
    config = judged(facts("config", None, run(), run(Status.CONFIG_ERROR)))
    error = judged(facts("error", None, run(), run(Status.ERROR)))
    partial = judged(facts("partial", None, run(), run(Status.PARTIAL)))
    unknown = judged(facts("unknown", None, run(), run(Status.UNKNOWN, word="new")))
    ahead = judged(facts("ahead", None, run(), watermark=NOW + 1e9))
    well = judged(facts("well", None, run()))
    rows = [well, ahead, partial, error, unknown, config, late]
    ordered = [row.facts.id for row in sorted(rows, key=lambda row: row.urgency)]
    assert ordered == ["well", "partial", "unknown", "ahead", "error", "config", "late"]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"up": None, "last_refresh": None, "exchanges": ()}, "waiting"),
        ({"up": None, "last_refresh": None}, "starting"),
        ({}, "ok"),
        ({"last_refresh": NOW - SILENT_AFTER - 1}, "ok"),
        (
            {
                "last_refresh": NOW - SILENT_AFTER - 1,
                "exchanges": (exchange(ago=SILENT_AFTER + 1),),
            },
            "silent",
        ),
        ({"up": False, "error": "timeout"}, "failing"),
    ],
)
def test_the_state_of_a_workspace(fields: dict[str, object], state: str) -> None:
    """A workspace with recent requests is not silent. A failure is shown whatever its age."""
    assert status(workspace("w", **fields)).state == state


def test_failed_requests_are_listed_by_kind_newest_first() -> None:
    """Equal failures are one line with a count. Successful requests are left out."""
    shown = workspace(
        "w",
        exchanges=(
            exchange("job_sync_status", "503", ago=90),
            exchange("job_sync_status", "503", ago=80),
            exchange("integrations", "timeout", ago=70),
            exchange("integrations", "200", ago=60),
        ),
    )
    reported = [
        (each.endpoint, each.code, times, each.at) for each, times in status(shown).troubles
    ]
    assert reported == [
        ("integrations", "timeout", 1, NOW - 70),
        ("job_sync_status", "503", 2, NOW - 80),
    ]


def test_each_filter_shows_as_many_rows_as_it_counts() -> None:
    """Each filter has at least one row in this workspace."""
    shown = workspace(
        "w",
        facts("late", None, run(ago=HOUR), stale_after=60.0),
        facts("hangs", None, run(), running=1, running_since=NOW - 2 * HOUR),
        facts("partial", None, run(Status.PARTIAL)),
        facts("error", None, run(Status.ERROR, ago=MINUTE)),
        facts("config", None, run(Status.CONFIG_ERROR)),
        facts("unknown", None, run(Status.UNKNOWN)),
        facts("none"),
    )
    counts = status(shown).counts
    assert counts == {
        "all": 7,
        "attention": 6,
        "late": 1,
        "hanging": 1,
        "running": 1,
        "success": 2,
        "partial": 1,
        "error": 1,
        "config_error": 1,
        "unknown": 1,
        "none": 1,
    }
    assert tuple(counts) == FILTERS
    none = judged(replace(facts("none")))
    assert [name for name in FILTERS if shows(name, none)] == ["all", "none"]
