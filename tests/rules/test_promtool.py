"""The alerts that fire, with their times and texts, evaluated by promtool."""

import re
from pathlib import Path

import pytest

from tests.rules.scenarios import (
    STORIES,
    TEST_FILES,
    Change,
    Story,
    all_rules,
    braze_down,
    check,
    exporter_restarted,
    exporter_restarted_while_firing,
    fault_start,
    first_alert,
    instance_cut_off,
    instance_replaced,
    judged,
    leader_replaced,
    left_open,
    minute,
    promtool_errors,
    renamed,
    scrapes_missed,
    scrapes_missed_while_firing,
    stories,
    two_instances,
    without_schedule,
)
from tools.rules import read_rules

RULES = [rule for group in read_rules() for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDINGS = [rule["record"] for rule in RULES if "record" in rule]
ALL_STORIES = [story for path in STORIES for story in stories(path)]
SILENT = [story for path in TEST_FILES if path.stem == "silence" for story in stories(path)]

NOT_OF_BRAZE = {
    "BrazeCDIExporterDown": "is about the exporter",
    "BrazeCDIExporterInstanceDown": "is about the exporter",
    "BrazeCDIExporterAbsent": "is about the exporter",
    "BrazeCDIConfigReloadFailed": "is about the exporter",
    "BrazeCDIStateWritesFailing": "is about the exporter",
    "BrazeCDIFileReloadFailed": "is about the exporter",
    "BrazeCDILogLinesDropped": "is about the exporter",
    "BrazeCDIWorkspaceUnwatched": "is about the exporter",
    "BrazeCDIDatabaseUnreachable": "is about the exporter",
    "BrazeCDIWorkspaceWithoutLeader": "is about the exporter",
    "BrazeCDIApiUnreachable": "says that Braze is down",
    "BrazeCDIApiUnauthorized": "says that Braze refuses the key",
}
"""Alerts that may fire while Braze is down, with the reason."""

OF_A_SCHEDULE = {
    "BrazeCDISyncLate",
    "BrazeCDISyncFailed",
    "BrazeCDIScheduledSyncMissed",
    "BrazeCDISourceDataStale",
}
"""Alerts that do not apply to event-driven integrations."""

OF_ALL = {
    "BrazeCDISyncConfigError": "no event heals a wrong configuration",
    "BrazeCDISyncFailing": "runs that fail twice in a row are wrong, whatever started them",
    "BrazeCDISyncStuck": "a run that hangs is wrong, whatever started it",
    "BrazeCDIRowsFailing": "rows that are lost are lost",
    "BrazeCDISyncSlow": "measured by the integration's own runs",
    "BrazeCDISyncRowsUnusual": "measured by the integration's own runs",
    "BrazeCDIUnknownStatus": "is about the exporter's vocabulary",
    "BrazeCDIWatermarkInFuture": "is about the rows' times",
    "BrazeCDIScheduleLost": "says that there is no schedule any more",
    "BrazeCDIListUnreadable": "is about the list",
    "BrazeCDIIntegrationDisappeared": "is about the list",
    "BrazeCDIHistoryGap": "is about the counters",
    "BrazeCDIDataNotRefreshed": "is about what is known, not about runs",
    "BrazeCDIRateLimitNearlySpent": "is about the workspace",
}
"""Alerts that also apply to event-driven integrations and their workspaces, with the reason."""


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_the_rules_pass_their_tests(path: Path) -> None:
    """Each alert fires with its texts and clears as the files in prometheus/tests expect."""
    found = promtool_errors(path)
    assert not found, found


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_the_same_alerts_fire_with_left_open_ranges(path: Path, tmp_path: Path) -> None:
    """Ranges in Prometheus 3 do not include their start. The same alerts fire at the same times."""
    rules = left_open(all_rules())
    assert "[299999ms]" in rules
    found = judged(stories(path), tmp_path, rules)
    assert not found, found


@pytest.mark.parametrize(
    "change",
    [
        *(two_instances, leader_replaced, instance_cut_off, instance_replaced),
        *(scrapes_missed, exporter_restarted),
    ],
)
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_same_alerts_fire_in_a_variation(path: Path, change: Change, tmp_path: Path) -> None:
    """Two instances, a new one, missed scrapes or a restart do not change the alerts."""
    changed = [change(story) for story in stories(path)]
    assert changed != stories(path)
    check(changed, tmp_path)


@pytest.mark.parametrize("change", [scrapes_missed_while_firing, exporter_restarted_while_firing])
def test_alerts_that_fire_continue(change: Change, tmp_path: Path) -> None:
    """Neither missed scrapes nor a restart end an alert that would then start again."""
    check([change(story) for story in ALL_STORIES if first_alert(story) is not None], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        *(two_instances, leader_replaced, instance_cut_off, instance_replaced),
        *(scrapes_missed, exporter_restarted, renamed),
    ],
)
def test_no_alert_fires_in_a_variation_without_problems(change: Change, tmp_path: Path) -> None:
    """Two instances, a replaced one, missed scrapes or other names do not cause an alert."""
    well = [
        story
        for story in SILENT
        if not any(test["exp_samples"] for test in story["promql_expr_test"])
    ]
    assert len(well) >= 2
    check([change(story) for story in well], tmp_path)


def _held(alert: str) -> int:
    return minute(ALERTS[alert].get("for", "0m"))


def _fires_first(story: Story) -> set[str]:
    """The alerts that fire first in this story."""
    fires = first_alert(story)
    return {
        test["alertname"]
        for test in story.get("alert_rule_test", [])
        if test["exp_alerts"] and minute(test["eval_time"]) == fires
    }


def test_an_outage_raises_one_alert_instead_of_one_per_symptom(tmp_path: Path) -> None:
    """If Braze is down before a problem starts, only the outage is reported."""
    selected: list[Story] = []
    about: set[str] = set()
    for story in ALL_STORIES:
        alerts = _fires_first(story) - set(NOT_OF_BRAZE)
        moment = min((fault_start(story, _held(alert)) or 0 for alert in alerts), default=0)
        if moment:
            selected.append(braze_down(story, moment))
            about |= alerts
    assert about == set(ALERTS) - set(NOT_OF_BRAZE)
    check(selected, tmp_path)


def test_an_integration_without_a_schedule_is_not_late(tmp_path: Path) -> None:
    """Event-driven integrations are never late, missed or stale, whatever their age."""
    selected = [story for story in ALL_STORIES if _fires_first(story) & OF_A_SCHEDULE]
    assert set().union(*map(_fires_first, selected)) == OF_A_SCHEDULE
    check([without_schedule(story) for story in selected], tmp_path)


def test_each_alert_is_tested_for_each_kind_of_silence() -> None:
    """Each alert is silent without a schedule and during an outage, or an exception is listed."""
    exporters = {name for name, why in NOT_OF_BRAZE.items() if why}
    assert set(ALERTS) == OF_A_SCHEDULE | set(OF_ALL) | exporters
    assert not OF_A_SCHEDULE & (set(OF_ALL) | exporters)


def _tests_of(alert: str) -> list[tuple[Story, Story]]:
    return [
        (story, test)
        for story in ALL_STORIES
        for test in story.get("alert_rule_test", [])
        if test["alertname"] == alert
    ]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tested_before_while_and_after_it_fires(alert: str) -> None:
    """Its tests show it silent just before, firing with all its annotations, and resolved."""
    fires = [(story, test) for story, test in _tests_of(alert) if test["exp_alerts"]]
    assert fires
    for story, test in fires:
        moment = minute(test["eval_time"])
        silent = [
            minute(other["eval_time"])
            for of, other in _tests_of(alert)
            if of is story and not other["exp_alerts"]
        ]
        assert any(moment - 6 <= earlier < moment for earlier in silent) or (
            first_alert(story) != moment
        )
        for expected in test["exp_alerts"]:
            assert expected["exp_labels"]["severity"] in ("critical", "warning", "info")
            assert all(expected["exp_annotations"].values())
    assert any(
        minute(after["eval_time"]) > minute(test["eval_time"])
        for story, test in fires
        for of, after in _tests_of(alert)
        if of is story and not after["exp_alerts"]
    )


def _thresholds() -> dict[str, tuple[str, int, str]]:
    """Each commented threshold: its alert, its line, and that line slightly closer to normal."""
    found: dict[str, tuple[str, int, str]] = {}
    alert = comment = ""
    for number, line in enumerate(all_rules().splitlines()):
        alert = line.partition("- alert: ")[2] or alert
        if line.strip().startswith("#"):
            comment = comment or line.partition("# Threshold: ")[2]
        elif comment:
            if "[" not in line and "for:" not in line:
                found[f"{alert}: {comment}"] = (alert, number, _nearer(line))
            comment = ""
    return found


def _nearer(line: str) -> str:
    # The next value below two failures is one. For a rate limit, the remaining share counts.
    factors = {">= 2": 0.5, ">= 3": 0.6, "< 0.1": 1.1}
    factor = next((by for text, by in factors.items() if line.strip() == text), 0.9)
    changed, count = re.subn(
        r"(?<![\w.])\d+(?:\.\d+)?", lambda found: f"{float(found[0]) * factor:g}", line
    )
    assert count == 1, line
    return changed


THRESHOLDS = _thresholds()


def test_each_threshold_has_a_comment() -> None:
    """Each number that users can change has a comment."""
    assert len(THRESHOLDS) >= 24
    assert all(alert in ALERTS for alert, _, _ in THRESHOLDS.values())


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_no_alert_fires_just_below_its_threshold(threshold: str, tmp_path: Path) -> None:
    """With a slightly stricter threshold, an alert fires in a test that expects silence."""
    alert, number, nearer = THRESHOLDS[threshold]
    selected = [
        story
        for story in ALL_STORIES
        if alert in {test["alertname"] for test in story.get("alert_rule_test", [])}
    ]
    lines = all_rules().splitlines()
    lines[number] = nearer
    found = judged(selected, tmp_path, "\n".join(lines))
    assert f"alertname: {alert}" in found, found


@pytest.mark.parametrize("recording", RECORDINGS)
def test_each_recording_rule_is_tested(recording: str) -> None:
    """Some test compares its value."""
    tested = [
        test["expr"]
        for story in ALL_STORIES
        for test in story.get("promql_expr_test", [])
        if test["exp_samples"]
    ]
    assert any(recording in expression for expression in tested)
