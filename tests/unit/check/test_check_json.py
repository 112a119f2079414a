"""The JSON report and its schema."""

import json
from collections.abc import Callable

import jsonschema
import pytest

from cdi_exporter.check import Report
from cdi_exporter.config import ConfiguredIntegration
from tests.harness import KEY, scripted, workspace
from tests.simulator import HISTORY, LIST, PERMISSIONS, many
from tests.unit.check.checking import checked, simulated, text
from tests.virtual import EPOCH
from tools.check_schema import SCHEMA, schema

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))


def test_the_schema_is_current() -> None:
    """`docs/check.schema.json` equals the schema generated from the code."""
    assert SCHEMA.read_text("utf-8") == schema(), "python -m tools.check_schema"


def test_the_schema_is_valid_and_describes_every_property() -> None:
    """Each property, or its type, has a description."""
    document = json.loads(schema())
    jsonschema.Draft202012Validator.check_schema(document)
    objects = [document, *document["$defs"].values()]
    for each in objects:
        for name, value in each.get("properties", {}).items():
            assert "description" in value or "$ref" in value, name


def works() -> Report:
    running = scripted("one", runs=3)
    running.run(EPOCH - 60)
    return checked(simulated(*many(12, seed=2), running))


def unauthorized() -> Report:
    simulator = simulated(scripted("one"))
    simulator.key = "another"
    return checked(simulator)


REPORTS: list[Callable[[], Report]] = [
    works,
    unauthorized,
    lambda: checked(simulated(), offline=True),
    lambda: checked(simulated(permissions=[])),
    lambda: checked(simulated(scripted("one"), limits={LIST: 50, HISTORY: 0})),
]


@pytest.mark.parametrize("report", REPORTS)
def test_the_report_fits_the_schema(report: Callable[[], Report]) -> None:
    """Each report fits the schema, and contains no key and no e-mail address."""
    text = report().to_json()
    VALIDATOR.validate(json.loads(text))
    assert KEY not in text
    assert "@" not in text


def test_the_json_report_has_the_documented_names_and_units() -> None:
    """Programs rely on these names and units."""
    simulator = simulated(scripted("one", runs=3, next_run=EPOCH + 3540))
    report = checked(simulator)
    (found,) = json.loads(report.to_json())["workspaces"]
    assert found["cost"] == {
        "integrations": {"requests_per_minute": 1.0, "budget_per_minute": 40},
        "job_sync_status": {"requests_per_minute": 0.08, "budget_per_minute": 80},
        "refresh_interval_seconds": 60.0,
        "keeps_up": True,
        "intervals_assumed": 0,
    }
    assert found["integrations"] == [
        {
            "integration_id": "one",
            "integration_name": "sync-one",
            "watched": True,
            "history_read": True,
            "last_run": {
                "status": "success",
                "start_timestamp_seconds": EPOCH - 3600,
                "finish_timestamp_seconds": EPOCH - 3540,
                "duration_seconds": 60.0,
                "rows_synced": 100,
                "rows_failed": 0,
                "job_status": None,
            },
            "running_start_timestamp_seconds": None,
            "running_job_status": None,
            "watermark_timestamp_seconds": None,
            "typical_sync_interval_seconds": 3600.0,
            "next_scheduled_sync_timestamp_seconds": EPOCH + 3540,
            "problem": None,
        }
    ]


def test_a_running_sync_is_shown_next_to_the_last_finished_one() -> None:
    """The runs come from the history, or from the list if the history was not read."""
    integration = scripted("one", runs=3)
    integration.run(EPOCH - 60)
    for permissions in (["cdi.integration_list"], [*PERMISSIONS.values()]):
        report = checked(simulated(integration, permissions=permissions))
        (found,) = report.workspaces[0].watched
        assert found.running_start_timestamp_seconds == EPOCH - 60
        assert (found.last_run is not None) is (len(permissions) == 2)


def test_a_configured_name_overrides_the_name_from_braze() -> None:
    """Without a configured name, Braze's name is used, or else the ID."""
    names = (ConfiguredIntegration("one", "mine"), ConfiguredIntegration("two"))
    nameless = scripted("two", runs=1)
    nameless.name = ""
    report = checked(
        simulated(scripted("one", runs=1), nameless), workspaces=[workspace(integrations=names)]
    )
    assert [each.integration_name for each in report.workspaces[0].watched] == ["mine", "two"]


FAR = 4_070_908_800.0
"""A moment in 2099."""


def test_an_unknown_status_is_shown_in_the_words_of_braze() -> None:
    """This applies to the history, to the list, and to a run in progress."""
    over, under_way = scripted("over"), scripted("under-way", runs=3)
    over.run(EPOCH - 100, EPOCH - 50, "limit_exceeded")
    under_way.run(EPOCH - 60, overrides={"job_status": "canceling"})
    for permissions in (["cdi.integration_list"], [*PERMISSIONS.values()]):
        report = checked(simulated(over, under_way, permissions=permissions))
        found = {each.integration_id: each for each in report.workspaces[0].watched}
        last = found["over"].last_run
        assert last is not None
        assert (last.status, last.job_status) == ("unknown", "limit_exceeded")
        assert "? limit_exceeded" in text(report)
    assert found["under-way"].running_job_status == "canceling"
    assert "canceling" in text(report)
    assert next(iter(found)) == "over", "it needs attention"


def test_a_watermark_in_the_future_is_a_warning() -> None:
    """The watermark comes from the history or from the list; the exit status stays 0."""
    names = {"one": EPOCH - 60, "two": FAR, "three": EPOCH + 200}
    several = [scripted(each) for each in names]
    for each, watermark in zip(several, names.values(), strict=True):
        each.run(EPOCH - 100, EPOCH - 50, watermark=watermark)
    for permissions in (["cdi.integration_list"], [*PERMISSIONS.values()]):
        report = checked(simulated(*several, permissions=permissions))
        (found,) = report.workspaces
        reported = [each for each in found.findings if each.code == "watermark_in_future"]
        assert [each.text for each in reported] == [
            "the watermark is in the future for sync-two (two)"
        ]
        watermarks = {each.integration_id: each for each in found.watched}
        assert watermarks["two"].watermark_timestamp_seconds == FAR
    assert report.ok
