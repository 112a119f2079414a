"""The rules' promtool tests, and variations of the scrapes that lead to the same alerts.

`prometheus/tests/*.yml` gives the series of one exporter and the expected alerts with their times.
The variations give the same series with two instances, a replaced instance, missed scrapes or a
restart. The expected alerts stay the same. Other variations give the series of an outage of Braze
or of integrations without a schedule. Then no alerts are expected.
"""

import copy
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.processes import program
from tools.rules import ROOT, RULE_FILES

TEST_FILES = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))
# The other files have their own instances or expect no alerts.
STORIES = [path for path in TEST_FILES if path.stem not in ("increases", "replaced", "silence")]

Story = dict[str, Any]
"""One promtool test, parsed."""
Change = Callable[[Story], Story]

_STEP = re.compile(r"(?P<start>-?[\d.]+)(?P<by>[+-][\d.]+)?x(?P<times>\d+)")
_UNITS = {"h": 60, "m": 1}
_MILLISECONDS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def stories(path: Path) -> list[Story]:
    """The tests in one file."""
    found: list[Story] = yaml.safe_load(path.read_text("utf-8"))["tests"]
    assert found
    return found


def minute(text: str) -> int:
    """`1h10m` in minutes."""
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([hm])", text))


def samples(notation: str) -> list[str]:
    """The samples of a series in promtool's notation."""
    return [sample for part in notation.split() for sample in _expanded(part)]


def _expanded(part: str) -> Iterator[str]:
    if part.startswith("_x"):
        yield from ["_"] * int(part[2:])
    elif match := _STEP.fullmatch(part):
        for step in range(int(match["times"]) + 1):
            yield f"{float(match['start']) + step * float(match['by'] or 0):g}".replace("e+0", "e")
    else:
        yield part


def left_open(rules: str) -> str:
    """The rules with ranges that exclude a sample exactly at their start.

    Prometheus 3 reads `[5m]` that way. Prometheus 2 includes that sample. Timestamps are whole
    milliseconds, so a range that is a millisecond shorter has the same samples in both.
    """

    def shorter(window: re.Match[str]) -> str:
        return f"[{int(window[1]) * _MILLISECONDS[window[2]] - 1}ms]"

    return re.sub(r"\[(\d+)([mhd])\]", shorter, rules)


def all_rules() -> str:
    """The rules of all files in one text."""
    texts = [file.read_text("utf-8").partition("\ngroups:\n")[2] for file in RULE_FILES]
    return "groups:\n" + "\n".join(texts)


def judged(tests: list[Story], folder: Path, rules: str | None = None) -> str:
    """The errors that promtool reports. Empty if the tests pass."""
    file, rule_file = folder / "tests.yml", folder / "rules.yml"
    rule_file.write_text(_only_used(rules or all_rules(), tests), "utf-8")
    content = {"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content), "utf-8")
    return promtool_errors(file)


def promtool_errors(file: Path) -> str:
    """The errors that promtool reports for a test file. Empty if its tests pass."""
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(file)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _only_used(rules: str, tests: list[Story]) -> str:
    """Only the rules that the tests use, which takes a third of the time.

    `ALERTS` needs all rules.
    """
    text = yaml.safe_dump([{**test, "input_series": []} for test in tests])
    content = yaml.safe_load(rules)
    if "ALERTS{alertstate" not in text:
        for group in content["groups"]:
            group["rules"] = [
                rule for rule in group["rules"] if "record" in rule or rule["alert"] in text
            ]
    return yaml.safe_dump(content)


def check(tests: list[Story], folder: Path) -> None:
    """Assert that promtool passes the tests."""
    found = judged(tests, folder)
    assert not found, found


def first_alert(story: Story) -> int | None:
    """The minute in which an alert is first expected."""
    expected = [
        minute(test["eval_time"]) for test in story.get("alert_rule_test", []) if test["exp_alerts"]
    ]
    return min(expected, default=None)


def _is_counter(series: str) -> bool:
    return series.partition("{")[0].endswith("_total")


def _falls(values: list[str]) -> bool:
    """Whether a counter decreases anywhere."""
    numbers = [float(each) for each in values if each not in ("_", "stale")]
    return numbers != sorted(numbers)


def _from_zero(values: list[str], start: int) -> list[str]:
    """The values of a counter that restarts from 0 at `start`."""
    shown, base = values[:start], float(values[start])
    before = base
    for value in values[start:]:
        if value in ("_", "stale"):
            shown.append(value)
            continue
        base = 0.0 if float(value) < before else base
        before = float(value)
        shown.append(f"{before - base:.10g}")
    return shown


def _labelled(series: str, labels: str) -> str:
    return series.replace("{", "{" + labels + ",", 1)


def _each(story: Story, change: Callable[[str, list[str]], list[tuple[str, list[str]]]]) -> Story:
    changed = copy.deepcopy(story)
    changed["input_series"] = [
        {"series": series, "values": " ".join(values)}
        for given in story["input_series"]
        for series, values in change(given["series"], samples(given["values"]))
    ]
    return changed


def two_instances(story: Story) -> Story:
    """Two exporters have the same series. Each alert about an instance is expected for both."""

    def twice(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if "instance=" in series:
            return [(series, values), (series.replace('instance="', 'instance="other-'), values)]
        return [(_labelled(series, f'job="braze-cdi",instance="{name}"'), values) for name in "ab"]

    changed = _each(story, twice)
    for test in changed.get("alert_rule_test", []):
        test["exp_alerts"] += [
            _of_other(alert) for alert in test["exp_alerts"] if "instance" in alert["exp_labels"]
        ]
    return changed


def _of_other(alert: Story) -> Story:
    instance = alert["exp_labels"]["instance"]
    text = yaml.safe_dump(alert, width=10_000).replace(instance, f"other-{instance}")
    other: Story = yaml.safe_load(text)
    return other


def leader_replaced(story: Story) -> Story:
    """Leadership moves from one exporter to the other one that shares its database.

    Both expose the same values, but only the leader sends requests to Braze.
    """
    moment = _middle(story, before=10)

    def of_both(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        first, second = (_labelled(series, f'job="braze-cdi",instance="{name}"') for name in "ab")
        if "instance=" in series:
            return [(series, values)]
        if not series.startswith("braze_cdi_api_") or len(values) <= moment:
            return [(first, values), (second, values)]
        before = [*values[:moment], *[values[moment - 1]] * (len(values) - moment)]
        after = _from_zero(values, moment) if _is_counter(series) else values
        return [(first, before), (second, [*["_"] * moment, *after[moment:]])]

    return _each(story, of_both)


def instance_cut_off(story: Story) -> Story:
    """One of two exporters that share a database loses its connection, so its counters lag.

    A counter that starts again at 0 does not come from a database.
    """
    moment = _middle(story, before=10)

    def behind(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if "instance=" in series:
            return [(series, values)]
        late = values
        if _is_counter(series) and len(values) > moment and not _falls(values):
            stays = [each if each == "stale" else values[moment - 1] for each in values[moment:]]
            late = [*values[:moment], *stays]
        shown = {"a": values, "b": late}
        return [
            (_labelled(series, f'job="braze-cdi",instance="{name}"'), each)
            for name, each in shown.items()
        ]

    return _each(story, behind)


def _middle(story: Story, before: int) -> int:
    fires = first_alert(story)
    return 35 if fires is None else max(1, fires - before)


def instance_replaced(story: Story) -> Story:
    """Shortly before the alert, a new instance without a state file takes over."""
    fires = first_alert(story)
    moment = 35 if fires is None else fires - 2

    def handed_over(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if "instance=" in series or len(values) <= moment:
            return [(series, values)]
        before = [*values[:moment], "stale", *["_"] * (len(values) - moment - 1)]
        after = _from_zero(values, moment) if _is_counter(series) else values
        return [
            (_labelled(series, 'job="braze-cdi",instance="old"'), before),
            (
                _labelled(series, 'job="braze-cdi",instance="new"'),
                [*["_"] * moment, *after[moment:]],
            ),
        ]

    return _each(story, handed_over)


def scrapes_missed(story: Story) -> Story:
    """Two scrapes fail while the alert is pending, and each series becomes stale."""
    fires = first_alert(story)
    return _missed(story, (33, 35) if fires is None else (fires - 3, fires - 1))


def _missed(story: Story, moments: tuple[int, ...]) -> Story:
    def missed(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if series.startswith("up{"):
            return [(series, values)]
        return [
            (
                series,
                [
                    "stale" if index in moments and value != "_" else value
                    for index, value in enumerate(values)
                ],
            )
        ]

    return _each(story, missed)


def exporter_restarted(story: Story) -> Story:
    """The exporter restarts while the alert is pending. Its counters restart at 0."""
    fires = first_alert(story)
    return _restarted(story, 35 if fires is None else fires - 3)


def _restarted(story: Story, moment: int) -> Story:
    def restarted(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if series.startswith("up{") or len(values) <= moment or values[moment] in ("_", "stale"):
            return [(series, values)]
        after = _from_zero(values, moment) if _is_counter(series) else values
        return [(series, [*values[:moment], "stale", "stale", *after[moment + 2 :]])]

    return _each(story, restarted)


def scrapes_missed_while_firing(story: Story) -> Story:
    """Two scrapes fail right after the alert starts to fire. It keeps firing."""
    fires = first_alert(story)
    assert fires is not None
    return _keeps_firing(_missed(story, (fires + 1, fires + 2)), fires)


def exporter_restarted_while_firing(story: Story) -> Story:
    """The exporter restarts right after the alert starts to fire. It keeps firing."""
    fires = first_alert(story)
    assert fires is not None
    return _keeps_firing(_restarted(story, fires + 1), fires)


def _keeps_firing(story: Story, fires: int) -> Story:
    """Expect the first alert to fire for three more minutes. Its text may change."""
    first = [
        test
        for test in story.pop("alert_rule_test")
        if test["exp_alerts"] and minute(test["eval_time"]) == fires
    ]
    story["promql_expr_test"] = [
        _firing(test["alertname"], fires + later, len(test["exp_alerts"]))
        for test in first
        for later in range(4)
    ]
    return story


def _firing(alert: str, when: int, count: int) -> Story:
    expected = [{"labels": "{}", "value": count}] if count else []
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {"expr": query, "eval_time": f"{when}m", "exp_samples": expected}


def renamed(story: Story) -> Story:
    """The integrations are renamed in Braze."""
    moment = 35

    def under_two_names(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if "integration_name=" not in series or len(values) <= moment:
            return [(series, values)]
        before = [*values[:moment], "stale", *["_"] * (len(values) - moment - 1)]
        name = series.replace('integration_name="', 'integration_name="new ')
        return [(series, before), (name, [*["_"] * moment, *values[moment:]])]

    return _each(story, under_two_names)


def fault_start(story: Story, held: int) -> int | None:
    """A minute before the fault starts, or None if the story starts with the fault."""
    fires = first_alert(story)
    moment = -1 if fires is None else fires - held - 6
    return moment if moment > 0 else None


def braze_down(story: Story, moment: int) -> Story:
    """Braze is down from that minute on: values stay the same, and one alert reports the outage."""

    def frozen(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if series.startswith(("braze_cdi_up{", "braze_cdi_refresh_error{")):
            return []
        return [(series, [*values[:moment], *[values[moment - 1]] * (len(values) - moment)])]

    frozen_story = _each(story, frozen)
    frozen_story["input_series"] += [
        {"series": series, "values": f"{before}x{moment - 1} {after}x400"}
        for series, before, after in (
            ('braze_cdi_up{workspace="production"}', 1, 0),
            ('braze_cdi_refresh_error{workspace="production",reason="timeout"}', 0, 1),
        )
    ]
    return _silent(frozen_story) | {
        "promql_expr_test": [_firing("BrazeCDIApiUnreachable", moment + 20, 1)]
    }


def without_schedule(story: Story) -> Story:
    """The integrations have neither a schedule nor a limit of their age: they are event-driven."""
    schedule = (
        "braze_cdi_stale_after_seconds{",
        "braze_cdi_next_scheduled_sync_timestamp_seconds{",
    )
    changed = copy.deepcopy(story)
    changed["input_series"] = [
        each for each in story["input_series"] if not each["series"].startswith(schedule)
    ]
    return _silent(changed)


def _silent(story: Story) -> Story:
    """Expect none of the story's alerts."""
    alerts = {test["alertname"] for test in story["alert_rule_test"] if test["exp_alerts"]}
    tests = [
        test | {"exp_alerts": []}
        for test in story["alert_rule_test"]
        if test["alertname"] in alerts
    ]
    return story | {"alert_rule_test": tests}
