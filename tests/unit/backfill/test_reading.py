"""Reading from Braze: within half of the rate limit share, despite failures and changes."""

from pathlib import Path

import pytest

from cdi_exporter.backfill import parse_moment
from cdi_exporter.config import ConfiguredIntegration
from cdi_exporter.errors import StartError
from tests.harness import workspace
from tests.simulator import (
    HISTORY,
    LIST,
    PERMISSIONS,
    Fault,
    FaultKind,
    ScriptedIntegration,
    ScriptedRun,
)
from tests.unit.backfill.backfilling import (
    FaultySimulator,
    Printed,
    after,
    backfill,
    files,
    of,
    options,
    samples,
    simulated,
    ticking,
)
from tests.virtual import EPOCH

DAY = 86_400.0
HOUR = parse_moment("1h")


def hourly(identifier: str, days: float = 10.0, *, end: float = EPOCH) -> ScriptedIntegration:
    """An integration with one run of a minute per hour up to `end`; row counts depend on the ID."""
    integration = ScriptedIntegration(identifier, f"sync-{identifier}")
    rows = sum(map(ord, identifier))
    for number in range(int(days * 24), 0, -1):
        start = end - 3600.0 * number
        integration.run(start, start + 60, rows_synced=rows + number)
    return integration


def of_integrations(output: Path) -> set[str]:
    """The integrations that have samples."""
    return {dict(labels)["integration_id"] for _, labels in samples(output)}


# The budget


def test_at_most_half_of_the_share_is_used(tmp_path: Path) -> None:
    """With a limit of 100 and a share of 0.8, at most 40 requests a minute are sent."""
    braze = ticking(*(hourly(each) for each in "abcdefgh"), limit_window="sliding")
    backfill(options(tmp_path, since=parse_moment("9d"), step=3600.0), braze)
    assert len(braze.traffic[HISTORY].times) > 150
    assert braze.traffic[HISTORY].busiest() == 40
    assert braze.too_many == 0


def test_requests_of_other_tools_reduce_the_share(tmp_path: Path) -> None:
    """Reading pauses when the reported remaining limit reaches what the share must leave."""
    other = Fault(0, 2 * EPOCH, FaultKind.OTHER_TOOL, endpoint=HISTORY, per_minute=60)
    braze = ticking(*(hourly(each) for each in "abcd"), limit_window="fixed", faults=[other])
    backfill(options(tmp_path, since=parse_moment("9d"), step=3600.0), braze)
    times = [*braze.traffic[HISTORY].times]
    assert len(times) > 80
    for number, time in enumerate(times):
        minute = time // 60 * 60
        own = [each for each in times[:number] if each >= minute]
        answered = [each for each in own if each < time - 0.15]
        if answered:
            remaining = 100 - len(answered) - int(answered[-1] - minute)
            assert remaining - (len(own) - len(answered)) > 60
    assert braze.too_many == 0


def test_two_workspaces_with_the_same_key_share_one_budget(tmp_path: Path) -> None:
    """Together they use one half of the share, and the time estimate takes this into account."""
    braze = ticking(*(hourly(each) for each in "abcd"), limit_window="sliding")
    both = [
        workspace("w0", endpoint="https://one.test", include=("a", "b")),
        workspace("w1", endpoint="https://one.test", include=("c", "d")),
    ]
    printed = backfill(
        options(tmp_path, since=parse_moment("9d"), step=3600.0),
        *(braze, braze),
        workspaces=both,
    )
    assert braze.traffic[HISTORY].busiest() == 40
    assert of_integrations(tmp_path) == set("abcd")
    left = len(braze.traffic[HISTORY].times) - 4
    assert f"about {left} requests left, 2m" in "\n".join(printed.lines)


def test_workspaces_with_different_keys_are_read_concurrently(tmp_path: Path) -> None:
    """Workspaces do not wait for each other's budget. Their series differ only in the workspace."""
    first, second = (ticking(hourly("a"), limit_window="sliding") for _ in range(2))
    backfill(options(tmp_path, step=3600.0), first, second)
    first_reads = [braze.traffic[HISTORY].times[0] for braze in (first, second)]
    assert abs(first_reads[0] - first_reads[1]) < 1
    by_workspace: dict[str, dict[object, object]] = {"w0": {}, "w1": {}}
    for (name, labels), values in samples(tmp_path).items():
        rest = dict(labels)
        by_workspace[rest.pop("workspace")][name, *rest.items()] = values
    assert by_workspace["w0"] == by_workspace["w1"] != {}


# Failures


@pytest.mark.parametrize("status", [400, 404])
def test_an_integration_that_braze_does_not_know_is_left_out(tmp_path: Path, status: int) -> None:
    """The others' files are written. The exit status and one line report the skipped one."""
    braze = FaultySimulator(simulated(hourly("a"), hourly("b")), of("a", status))
    with pytest.raises(StartError, match=rf"^1 integration skipped: 'sync-a' \({status}: "):
        backfill(options(tmp_path), braze)
    assert of_integrations(tmp_path) == {"b"}
    assert braze.requested.count("a") == 1


def test_an_integration_that_disappears_while_it_is_read_is_left_out_entirely(
    tmp_path: Path,
) -> None:
    """Half of a history would give wrong counters."""
    pages = {"a": 0}

    def rule(number: int, one: str) -> int | None:
        pages["a"] += one == "a"
        return 404 if one == "a" and pages["a"] > 3 else None

    braze = FaultySimulator(simulated(hourly("a"), hourly("b")), rule)
    with pytest.raises(StartError, match="1 integration skipped"):
        backfill(options(tmp_path, since=parse_moment("8d")), braze)
    assert of_integrations(tmp_path) == {"b"}


def test_an_integration_that_fails_for_long_does_not_end_the_job(tmp_path: Path) -> None:
    """After minutes of failures another integration still responds, so only this one is skipped."""
    braze = FaultySimulator(ticking(hourly("a"), hourly("b")), of("a", 500))
    with pytest.raises(StartError, match=r"skipped: 'sync-a' \(500: Braze has a problem\)$"):
        backfill(options(tmp_path), braze)
    assert of_integrations(tmp_path) == {"b"}
    assert braze.requested.count("a") == 15


def test_integrations_left_out_are_tried_again_on_resume(tmp_path: Path) -> None:
    """This also works with a range of dates. Other integrations are not read again."""
    span = {
        "since": parse_moment("2026-09-20T00:00:00Z"),
        "until": parse_moment("2026-09-21T00:00:00Z"),
    }
    braze = FaultySimulator(simulated(hourly("a"), hourly("b")), of("a", 404))
    with pytest.raises(StartError, match="skipped"):
        backfill(options(tmp_path, **span), braze)
    again = FaultySimulator(simulated(hourly("a"), hourly("b")))
    backfill(options(tmp_path, **span), again)
    assert set(again.requested) == {"a"}
    assert of_integrations(tmp_path) == {"a", "b"}
    printed = backfill(options(tmp_path, **span), again)
    assert printed.lines == [f"everything is already written: {tmp_path}"]


@pytest.mark.parametrize("status", [500, 502, 429])
def test_a_workspace_that_does_not_respond_ends_the_job(tmp_path: Path, status: int) -> None:
    """The line names the workspace and the reason. The runs read so far are kept for a resume."""
    chosen = options(tmp_path, since=parse_moment("8d"))
    braze = FaultySimulator(ticking(hourly("a"), hourly("b")), after(9, status))
    with pytest.raises(StartError, match=rf"^workspace w0: {status}: "):
        backfill(chosen, braze)
    assert not files(tmp_path)
    again = FaultySimulator(simulated(hourly("a"), hourly("b")))
    printed = backfill(chosen, again)
    assert "resuming what was started at 2026-09-21T14:13:20Z" in printed.lines
    assert len(again.requested) == 2 * 22 - 9
    assert of_integrations(tmp_path) == {"a", "b"}


def test_reading_waits_until_an_outage_is_over(tmp_path: Path) -> None:
    """After an outage, 5xx and invalid responses, no sample and no integration is missing."""
    faults = [
        Fault(EPOCH + 5, EPOCH + 100, FaultKind.OUTAGE),
        Fault(EPOCH + 130, EPOCH + 200, FaultKind.SERVER_ERROR),
        Fault(EPOCH + 230, EPOCH + 300, FaultKind.HTML_OK),
        Fault(EPOCH, EPOCH + 3600, FaultKind.SERVER_ERROR, rate=0.2),
    ]
    chosen = options(tmp_path / "a", since=parse_moment("9d"), step=3600.0)
    backfill(chosen, ticking(*(hourly(each) for each in "abcd"), faults=faults))
    whole = options(tmp_path / "b", since=parse_moment("9d"), step=3600.0)
    backfill(whole, simulated(*(hourly(each) for each in "abcd")))
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


def test_a_key_that_is_revoked_ends_the_job(tmp_path: Path) -> None:
    """The job ends at once, and the error says what to do."""
    braze = FaultySimulator(ticking(hourly("a")), after(3, 401))
    with pytest.raises(StartError, match="workspace w0: 401: Braze does not know this API key"):
        backfill(options(tmp_path, since=parse_moment("8d")), braze)
    assert len(braze.requested) == 4


@pytest.mark.parametrize("endpoint", [LIST, HISTORY])
def test_a_missing_permission_is_named(tmp_path: Path, endpoint: str) -> None:
    """The error names the permission that the key lacks."""
    braze = simulated(hourly("a"), permissions={*PERMISSIONS.values()} - {PERMISSIONS[endpoint]})
    with pytest.raises(StartError, match=f"workspace w0: 403: .*{PERMISSIONS[endpoint]}"):
        backfill(options(tmp_path), braze)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (FaultKind.SERVER_ERROR, "workspace w0: 503: Braze has a problem"),
        (FaultKind.ENDLESS, "workspace w0: the pages of the list repeat themselves"),
    ],
)
def test_a_list_that_cannot_be_read_ends_the_job(
    tmp_path: Path, kind: FaultKind, line: str
) -> None:
    """An incomplete list would give an incomplete past. The earlier files are kept."""
    backfill(options(tmp_path), simulated(hourly("a")))
    before = files(tmp_path)
    braze = ticking(hourly("a"), faults=[Fault(0, 2 * EPOCH, kind, endpoint=LIST)])
    with pytest.raises(StartError, match=f"^{line}$"):
        backfill(options(tmp_path, labels=()), braze)
    assert files(tmp_path) == before != []


def test_without_the_list_configured_integrations_are_read(tmp_path: Path) -> None:
    """As in the exporter, the integrations are named by their IDs."""
    braze = simulated(hourly("a"), hourly("b"), permissions=[PERMISSIONS[HISTORY]])
    configured = workspace("w0", integrations=(ConfiguredIntegration("a"),))
    backfill(options(tmp_path), braze, workspaces=[configured])
    names = {dict(labels)["integration_name"] for _, labels in samples(tmp_path)}
    assert names == {"a"}


# Changes while reading


def test_runs_that_start_while_pages_are_read_hide_no_others(tmp_path: Path) -> None:
    """Rows that move to the next page are read twice, and none is missed."""
    moving = hourly("a", end=EPOCH - 3600.0)
    step, count = 2.0, iter(range(1, 10_000))

    def rule(number: int, one: str) -> int | None:
        for _ in range(3):
            start = EPOCH - 3500.0 + step * next(count)
            moving.run(start, start + 1, rows_synced=1)
        return None

    span = {"since": parse_moment("9d"), "until": HOUR}
    backfill(options(tmp_path / "a", **span), FaultySimulator(simulated(moving), rule))
    backfill(options(tmp_path / "b", **span), simulated(hourly("a", end=EPOCH - 3600.0)))
    assert len(moving.runs) > 240 + 60
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


@pytest.mark.parametrize("kind", [FaultKind.REPEATING_CURSOR, FaultKind.ENDLESS])
def test_a_history_whose_pages_repeat_is_given_up(tmp_path: Path, kind: FaultKind) -> None:
    """A cursor may name itself, or the pages may be endless."""
    fault = Fault(0, 2 * EPOCH, kind, endpoint=HISTORY)
    braze = simulated(hourly("a", days=1), faults=[fault])
    with pytest.raises(StartError, match="the pages of the history repeat themselves"):
        backfill(options(tmp_path, since=parse_moment("9d")), braze)
    assert len(braze.traffic[HISTORY].times) < 300


def test_a_refused_old_cursor_does_not_end_the_history(tmp_path: Path) -> None:
    """Reading is resumed from the newest page."""
    chosen = options(tmp_path / "a", since=parse_moment("8d"))
    braze = FaultySimulator(simulated(hourly("a")), after(5, 401))
    with pytest.raises(StartError, match="401"):
        backfill(chosen, braze)

    def refuse_the_first(number: int, integration_id: str) -> int | None:
        return 400 if number == 1 else None

    again = FaultySimulator(simulated(hourly("a")), refuse_the_first)
    backfill(chosen, again)
    whole = options(tmp_path / "b", since=parse_moment("8d"))
    backfill(whole, simulated(hourly("a")))
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


def test_only_pages_within_the_range_are_read(tmp_path: Path) -> None:
    """Pages cover the range and the runs before it that are needed for typical values."""
    braze = simulated(hourly("a", days=60))
    backfill(options(tmp_path, since=parse_moment("2d")), braze)
    assert len(braze.traffic[HISTORY].times) == 8  # 48 runs, 24 before, and the rest of the page


def test_an_integration_without_runs_has_no_series(tmp_path: Path) -> None:
    """Its creation time is unknown. If no integration has runs, no file is written."""
    printed = backfill(options(tmp_path), simulated(ScriptedIntegration("none", "none")))
    assert files(tmp_path) == []
    assert f"0 samples, 0 B, in 0 files in {tmp_path}" in printed.lines


def test_rows_without_any_time_are_reported(tmp_path: Path) -> None:
    """Such rows cannot be placed in time, and are not dropped silently."""
    integration = hourly("a", days=1)
    integration.runs.append(
        ScriptedRun(
            int((EPOCH - 60) * 1e6), overrides={"sync_start_time": None, "job_status": "error"}
        )
    )
    printed = Printed()
    backfill(options(tmp_path), simulated(integration), printed=printed)
    assert "skipped: 1 row without a readable time" in printed.lines
