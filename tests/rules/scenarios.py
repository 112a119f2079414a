"""The rules' promtool tests, and what happens to scrapes between Braze and a rule.

`prometheus/tests/*.yml` says what must fire and when, as one exporter would tell it. The
changes here tell the same story in another way: twice, by an instance that is replaced,
with missed scrapes, across a restart. What is expected stays the same.
"""

import copy
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULE_FILE = ROOT / "prometheus" / "rules" / "braze-cdi.yml"
TEST_FILES = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))
STORIES = [path for path in TEST_FILES if path.stem != "silence"]

Story = dict[str, Any]
"""One test of promtool, as parsed."""
Change = Callable[[Story], Story]

_STEP = re.compile(r"(?P<start>-?[\d.]+)(?P<by>[+-][\d.]+)?x(?P<times>\d+)")
_UNITS = {"h": 60, "m": 1}


def program(name: str) -> str:
    """The path of an installed program."""
    path = shutil.which(name)
    assert path, f"{name} is missing: run make debian-packages"
    return path


def stories(path: Path) -> list[Story]:
    """The tests of one file."""
    found: list[Story] = yaml.safe_load(path.read_text("utf-8"))["tests"]
    assert found
    return found


def minute(text: str) -> int:
    """`1h10m` as minutes."""
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([hm])", text))


def samples(notation: str) -> list[str]:
    """promtool's notation, one text per sample."""
    return [sample for part in notation.split() for sample in _expanded(part)]


def _expanded(part: str) -> Iterator[str]:
    if part.startswith("_x"):
        yield from ["_"] * int(part[2:])
    elif match := _STEP.fullmatch(part):
        for step in range(int(match["times"]) + 1):
            yield f"{float(match['start']) + step * float(match['by'] or 0):g}".replace("e+0", "e")
    else:
        yield part


def check(tests: list[Story], folder: Path) -> None:
    """Let promtool judge the tests."""
    file = folder / "tests.yml"
    content = {"rule_files": [str(RULE_FILE)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content), "utf-8")
    judged = subprocess.run(
        [program("promtool"), "test", "rules", str(file)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def first_alert(story: Story) -> int | None:
    """The minute in which an alert is first expected."""
    expected = [
        minute(test["eval_time"]) for test in story.get("alert_rule_test", []) if test["exp_alerts"]
    ]
    return min(expected, default=None)


def _is_counter(series: str) -> bool:
    return series.partition("{")[0].endswith("_total")


def _from_zero(values: list[str], start: int) -> list[str]:
    """What a counter shows that begins anew at `start`."""
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
    """Two exporters tell the same; what an alert says of an instance is said of both."""

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


def instance_replaced(story: Story) -> Story:
    """Shortly before the alert another instance takes over, without a state file."""
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
    """Two scrapes fail while the alert is pending, and each series goes stale with them."""
    fires = first_alert(story)
    moments = (33, 35) if fires is None else (fires - 3, fires - 1)

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
    """The exporter restarts while the alert is pending; its counters begin at 0."""
    fires = first_alert(story)
    moment = 35 if fires is None else fires - 3

    def restarted(series: str, values: list[str]) -> list[tuple[str, list[str]]]:
        if series.startswith("up{") or len(values) <= moment or values[moment] in ("_", "stale"):
            return [(series, values)]
        after = _from_zero(values, moment) if _is_counter(series) else values
        return [(series, [*values[:moment], "stale", "stale", *after[moment + 2 :]])]

    return _each(story, restarted)
