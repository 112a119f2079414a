"""What fires, when, and with which words: judged by promtool."""

from pathlib import Path

import pytest
import yaml

from tests.rules.scenarios import (
    RULE_FILE,
    STORIES,
    TEST_FILES,
    Change,
    Story,
    check,
    exporter_restarted,
    first_alert,
    instance_replaced,
    minute,
    scrapes_missed,
    stories,
    two_instances,
)

RULES = [
    rule
    for group in yaml.safe_load(RULE_FILE.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
RECORDINGS = [rule["record"] for rule in RULES if "record" in rule]
TOLD = [story for path in STORIES for story in stories(path)]


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_what_is_written_holds(path: Path, tmp_path: Path) -> None:
    """Each alert fires, with its words, and clears as the tests beside the rules say."""
    check(stories(path), tmp_path)


@pytest.mark.parametrize(
    "change", [two_instances, instance_replaced, scrapes_missed, exporter_restarted]
)
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_same_holds(path: Path, change: Change, tmp_path: Path) -> None:
    """Two instances, a new one, missed scrapes and a restart change nothing of what fires."""
    changed = [change(story) for story in stories(path)]
    assert changed != stories(path)
    check(changed, tmp_path)


def _tests_of(alert: str) -> list[tuple[Story, Story]]:
    return [
        (story, test)
        for story in TOLD
        for test in story.get("alert_rule_test", [])
        if test["alertname"] == alert
    ]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_before_while_and_after_it_fires(alert: str) -> None:
    """Its tests show it silent just before, firing with all its annotations, and over."""
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


@pytest.mark.parametrize("recording", RECORDINGS)
def test_each_recording_rule_is_tested(recording: str) -> None:
    """Its value is compared in some test."""
    tested = [
        test["expr"]
        for story in TOLD
        for test in story.get("promql_expr_test", [])
        if test["exp_samples"]
    ]
    assert any(recording in expression for expression in tested)
