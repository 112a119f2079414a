"""The example Alertmanager configuration: syntax, routes, inhibitions and templates."""

import json
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import eventually, program
from tests.rules.alertmanager import CONFIGURATION, alertmanager, configuration, inbox
from tests.rules.scenarios import minute
from tools.rules import ROOT, read_rules

DAY = 86_400
GROUPS = read_rules()
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
SEVERITY = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
RECEIVERS = {"critical": "data-on-call", "warning": "data-tickets", "info": "nobody"}
ONCE = "BrazeCDIScheduleLost"
"""The alert of severity info that is notified, once."""
TEMPLATES = CONFIGURATION.parent / "templates" / "*.tmpl"


def _amtool(*arguments: str) -> str:
    done = subprocess.run(
        [program("amtool"), *arguments], capture_output=True, check=False, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_accepts_the_configuration() -> None:
    """The configuration and the templates load without errors."""
    assert "1 templates\n  SUCCESS" in _amtool("check-config", str(CONFIGURATION))


@pytest.mark.parametrize("severity", RECEIVERS)
def test_each_severity_has_its_receiver(severity: str) -> None:
    """Critical alerts page, warnings become tickets, and all info alerts but one are dropped."""
    alerts = [name for name, of in SEVERITY.items() if of == severity and name != ONCE]
    assert alerts
    for alert in alerts:
        _amtool(
            "config",
            "routes",
            "test",
            f"--config.file={CONFIGURATION}",
            f"--verify.receivers={RECEIVERS[severity]}",
            f"alertname={alert}",
            f"severity={severity}",
        )


def test_a_lost_schedule_is_notified_once() -> None:
    """It is notified before it would repeat, and its end is not notified."""
    _amtool(
        *("config", "routes", "test", f"--config.file={CONFIGURATION}"),
        *("--verify.receivers=data-notices", f"alertname={ONCE}", f"severity={SEVERITY[ONCE]}"),
    )
    routes = configuration()["route"]["routes"][0]["routes"]
    (repeat,) = (each["repeat_interval"] for each in routes if each["receiver"] == "data-notices")
    days = int(repeat.removesuffix("d"))
    (reported,) = re.findall(r"^< (\d+)$", ALERTS[ONCE]["expr"], re.MULTILINE)
    assert int(reported) < days * DAY
    assert days < 5, "Alertmanager forgets after 120 hours what it has sent"


def test_a_page_delays_but_does_not_suppress_a_lost_schedule_notice(
    tmp_path: Path,
) -> None:
    """An integration was late when it was paused.

    First the page resolves, then the notice is sent.
    """
    (late,) = _of_integration("BrazeCDISyncLate", "production", "8d42")
    (lost,) = _of_integration(ONCE, "production", "8d42")
    page, over, notice = (
        ("firing", late["alertname"]),
        ("resolved", late["alertname"]),
        ("firing", ONCE),
    )
    with inbox() as box, alertmanager(box, tmp_path) as address:

        def post(*alerts: dict[str, Any]) -> None:
            httpx.post(f"{address}/api/v2/alerts", json=alerts).raise_for_status()

        def notified(*expected: tuple[str, str]) -> None:
            eventually(
                lambda: sorted(each[:2] for each in box.notifications()) == sorted(expected),
                f"{expected} are sent, and nothing else",
            )

        post({"labels": late}, {"labels": lost})
        notified(page)
        post({"labels": late, "endsAt": _now()})
        notified(page, over, notice)
        post({"labels": lost, "endsAt": _now()})
        eventually(
            lambda: httpx.get(f"{address}/api/v2/alerts").json() == [], "all alerts are resolved"
        )
        # Longer than a group interval, in which a resolved notification would have been sent.
        time.sleep(3)
        notified(page, over, notice)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def test_alerts_of_other_jobs_are_not_routed() -> None:
    """The example route drops alerts of other jobs."""
    routed = _amtool(
        "config", "routes", "test", f"--config.file={CONFIGURATION}", "alertname=Other"
    )
    assert routed.strip() == "nobody"


def test_inhibitions(tmp_path: Path) -> None:
    """Alerts that repeat another alert are muted, but not those about something else."""
    given = [
        *_of_integration("BrazeCDISyncLate", "production", "8d42"),
        *_of_integration("BrazeCDISyncFailing", "production", "8d42"),
        *_of_integration("BrazeCDISyncSlow", "production", "8d42"),
        *_of_integration("BrazeCDISyncFailing", "production", "77aa"),
        *_of_integration("BrazeCDIRowsFailing", "production", "77aa"),
        *_of_integration("BrazeCDIRowsFailing", "production", "c0de"),
        *_of_integration("BrazeCDISyncLate", "europe", "8d42"),
        *_of_integration("BrazeCDIScheduleLost", "production", "8d42"),
        *_of_integration("BrazeCDIUnknownStatus", "production", "8d42"),
        *_of_integration("BrazeCDIWatermarkInFuture", "production", "77aa"),
        {"alertname": "BrazeCDIListUnreadable", "workspace": "europe", "severity": "warning"},
        {"alertname": "BrazeCDIListUnreadable", "workspace": "production", "severity": "warning"},
        {"alertname": "BrazeCDIFileReloadFailed", "workspace": "asia", "severity": "warning"},
        {"alertname": "BrazeCDILogLinesDropped", "instance": "a", "severity": "info"},
        {"alertname": "BrazeCDIApiUnreachable", "workspace": "europe", "severity": "critical"},
        {"alertname": "BrazeCDIApiUnauthorized", "workspace": "asia", "severity": "critical"},
        {"alertname": "BrazeCDIApiUnreachable", "workspace": "asia", "severity": "critical"},
        {"alertname": "BrazeCDIWorkspaceWithoutLeader", "workspace": "us", "severity": "critical"},
        {"alertname": "BrazeCDIApiUnreachable", "workspace": "us", "severity": "critical"},
        *_of_integration("BrazeCDISyncLate", "us", "8d42"),
        {"alertname": "BrazeCDIDatabaseUnreachable", "instance": "a", "severity": "warning"},
        {"alertname": "BrazeCDIConfigReloadFailed", "instance": "a", "severity": "warning"},
        {"alertname": "BrazeCDIRateLimitNearlySpent", "workspace": "production", "endpoint": "e"},
    ]
    assert _muted(given, tmp_path) == {
        ("BrazeCDISyncFailing", "production", "8d42"),
        ("BrazeCDISyncSlow", "production", "8d42"),
        ("BrazeCDIRowsFailing", "production", "77aa"),
        ("BrazeCDIScheduleLost", "production", "8d42"),
        ("BrazeCDIUnknownStatus", "production", "8d42"),
        ("BrazeCDISyncLate", "europe", "8d42"),
        ("BrazeCDIListUnreadable", "europe", None),
        ("BrazeCDIFileReloadFailed", "asia", None),
        ("BrazeCDIApiUnreachable", "asia", None),
        ("BrazeCDIApiUnreachable", "us", None),
        ("BrazeCDISyncLate", "us", "8d42"),
    }


def test_without_an_exporter_other_alerts_are_muted(tmp_path: Path) -> None:
    """Other alerts are muted if all exporters are down.

    They are not muted if one of two exporters is down, or if the target is missing.
    """
    others = [
        *_of_integration("BrazeCDISyncLate", "production", "8d42"),
        {"alertname": "BrazeCDIApiUnreachable", "workspace": "europe", "severity": "critical"},
        {"alertname": "Other"},
    ]
    down = {"alertname": "BrazeCDIExporterDown", "instance": "a", "severity": "critical"}
    one = {"alertname": "BrazeCDIExporterInstanceDown", "instance": "a", "severity": "warning"}
    absent = {"alertname": "BrazeCDIExporterAbsent", "job": "braze-cdi", "severity": "critical"}
    for name in ("down", "one", "absent"):
        (tmp_path / name).mkdir()
    assert _muted([*others, down], tmp_path / "down") == {
        ("BrazeCDISyncLate", "production", "8d42"),
        ("BrazeCDIApiUnreachable", "europe", None),
    }
    assert _muted([*others[:1], one], tmp_path / "one") == set()
    assert _muted([*others[:1], absent], tmp_path / "absent") == set()


def _held(alert: str) -> int:
    return minute(ALERTS[alert]["for"])


def test_an_inhibited_alert_does_not_outlive_its_source_alert() -> None:
    """Otherwise Alertmanager would drop its end and not notify the next one.

    No rule has `keep_firing_for`, and the inhibiting rules precede the others in the same group.
    """
    muting = ("SyncLate", "SyncConfigError", "SyncFailed", "SyncFailing")
    group = next(each for each in GROUPS if each["name"] == "braze-cdi-runs")
    order = [rule["alert"].removeprefix("BrazeCDI") for rule in group["rules"] if "alert" in rule]
    assert order[:4] == list(muting)
    muted = (
        *("ScheduledSyncMissed", "SyncStuck", "ScheduleLost", "RowsFailing", "SourceDataStale"),
        *("UnknownStatus", "WatermarkInFuture"),
    )
    assert set(muted) < set(order)


def test_an_exporter_that_is_down_mutes_alerts_before_they_end() -> None:
    """Samples stay visible for 5 minutes. An alert that ends then would be notified as resolved."""
    assert _held("BrazeCDIExporterDown") < 5


def test_an_alert_resolved_before_its_mail_is_not_mailed(tmp_path: Path) -> None:
    """A ticket waits before it is sent, and is not sent if the alert resolves in that time."""
    (brief,) = _of_integration("BrazeCDISyncFailing", "production", "8d42")
    (lasting,) = _of_integration("BrazeCDIRowsFailing", "production", "77aa")
    with inbox() as box, alertmanager(box, tmp_path, per_minute=200) as address:
        url = f"{address}/api/v2/alerts"
        httpx.post(url, json=[{"labels": brief}]).raise_for_status()
        eventually(lambda: len(httpx.get(url).json()) == 1, "the alert has arrived")
        over = [{"labels": brief, "endsAt": _now()}, {"labels": lasting}]
        httpx.post(url, json=over).raise_for_status()
        eventually(box.notifications, "the other ticket, which fired later, is sent")
        assert [each[:2] for each in box.notifications()] == [
            ("firing", "BrazeCDIRowsFailing"),
        ]


def test_a_ticket_waits_for_the_page_that_mutes_it() -> None:
    """An alert that pages for an integration fires later than the alert that creates its ticket."""
    pages = max(_held("BrazeCDISyncLate"), _held("BrazeCDISyncConfigError"))
    tickets = min(_held("BrazeCDISyncFailed"), _held("BrazeCDISyncFailing"))
    routes = configuration()["route"]["routes"][0]["routes"]
    waits = {route["receiver"]: route.get("group_wait") for route in routes}
    assert tickets + minute(waits["data-tickets"]) >= pages + 10


def _of_integration(alert: str, workspace: str, identifier: str) -> list[dict[str, str]]:
    labels = {"alertname": alert, "workspace": workspace, "integration_id": identifier}
    return [labels | {"integration_name": f"name of {identifier}", "severity": SEVERITY[alert]}]


def _muted(given: list[dict[str, str]], folder: Path) -> set[tuple[str, str | None, str | None]]:
    with inbox() as box, alertmanager(box, folder) as address:
        url = f"{address}/api/v2/alerts"
        httpx.post(
            url, json=[{"labels": labels} for labels in given], timeout=60
        ).raise_for_status()

        def judged() -> list[dict[str, Any]] | None:
            alerts: list[dict[str, Any]] = httpx.get(url).json()
            ready = len(alerts) == len(given) and box.notifications()
            return alerts if ready else None

        alerts = eventually(judged, "Alertmanager has processed all alerts")
        return {
            (
                alert["labels"]["alertname"],
                alert["labels"].get("workspace"),
                alert["labels"].get("integration_id"),
            )
            for alert in alerts
            if alert["status"]["inhibitedBy"]
        }


def _alert(name: str, status: str = "firing", *, links: bool = True) -> dict[str, Any]:
    urls = {
        "runbook_url": "https://wiki.example.com/runbooks/BrazeCDISyncLate.md",
        "dashboard_url": f"https://grafana.example.com/d/x?a=1&name={name}",
    }
    return {
        "status": status,
        "labels": {
            "alertname": "BrazeCDISyncLate",
            "workspace": "production",
            "integration_id": name,
            "integration_name": name,
            "severity": "critical",
        },
        "annotations": {
            "summary": f"{name} → Braze production: no delivery for 2h 11m (limit 2h)",
            "description": "Last delivery at 2026-11-24 03:00 UTC. Last run: error; "
            "3 failed runs in a row.",
            "action": "Check in Braze why the last run failed.",
        }
        | (urls if links else {}),
        "startsAt": "2026-11-24T05:11:00Z",
        "endsAt": "2026-11-24T06:30:00Z",
    }


def _rendered(template: str, alerts: list[dict[str, Any]], folder: Path) -> str:
    data = {
        "status": "firing" if any(each["status"] == "firing" for each in alerts) else "resolved",
        "alerts": alerts,
        "externalURL": "https://alerts.example.com",
        "groupLabels": {"alertname": "BrazeCDISyncLate", "workspace": "production"},
        "commonLabels": {"severity": "critical", "workspace": "production"},
        "commonAnnotations": {"action": alerts[0]["annotations"]["action"]},
    }
    file = folder / "data.json"
    file.write_text(json.dumps(data), "utf-8")
    return _amtool(
        "template",
        "render",
        f"--template.glob={TEMPLATES}",
        f'--template.text={{{{ template "braze_cdi.{template}" . }}}}',
        f"--template.type={'html' if template == 'html' else 'text'}",
        f"--template.data={file}",
    )


def test_the_mail_has_what_happened_and_what_to_do(tmp_path: Path) -> None:
    """The subject and the text of a mail about two integrations, one of which has recovered."""
    alerts = [_alert("orders"), _alert("users", "resolved")]
    title = _rendered("title", alerts, tmp_path)
    assert title == "Act now: orders → Braze production: no delivery for 2h 11m (limit 2h)"
    assert _rendered("text", alerts, tmp_path).strip() == (
        """\
orders → Braze production: no delivery for 2h 11m (limit 2h)
  Last delivery at 2026-11-24 03:00 UTC. Last run: error; 3 failed runs in a row.
  Alert since 2026-11-24 05:11 UTC.
  https://grafana.example.com/d/x?a=1&name=orders

users: resolved
  Alert from 2026-11-24 05:11 UTC to 2026-11-24 06:30 UTC.

What to do: Check in Braze why the last run failed.
Runbook: https://wiki.example.com/runbooks/BrazeCDISyncLate.md
Silence: https://alerts.example.com/#/silences/new?filter=\
%7Balertname%3D%22BrazeCDISyncLate%22%2Cworkspace%3D%22production%22%7D"""
    )


def test_the_example_mail_in_the_docs_is_really_sent(tmp_path: Path) -> None:
    """The lines of the example are those that the templates render for such an alert."""
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    alerts = [_alert("orders")]
    made = f"Subject: {_rendered('title', alerts, tmp_path)}\n" + _rendered(
        "text", alerts, tmp_path
    )
    begin = made.partition("https://")[0]
    assert shown.replace("\n\n", "\n", 1).startswith(begin)
    assert "Runbook: https://wiki.example.com/runbooks/BrazeCDISyncLate.md" in shown
    assert ALERTS["BrazeCDISyncLate"]["annotations"]["action"].rstrip() in " ".join(shown.split())


@pytest.mark.parametrize("template", ["chat", "text", "html"])
def test_a_link_that_is_not_set_is_left_out(template: str, tmp_path: Path) -> None:
    """The message contains no empty link."""
    text = _rendered(template, [_alert("orders", links=False)], tmp_path)
    assert "no delivery for 2h 11m" in text
    assert "unbook" not in text
    assert "ashboard" not in text
    assert "/#/silences/new?" in text


def test_the_resolved_mail_has_no_old_figures(tmp_path: Path) -> None:
    """It names the integration that has recovered and since when, without advice."""
    alerts = [_alert("orders", "resolved")]
    title = _rendered("title", alerts, tmp_path)
    assert title == "Resolved: BrazeCDISyncLate in Braze production: orders"
    text = _rendered("text", alerts, tmp_path)
    assert "What to do" not in text
    assert "2h 11m" not in text


def test_a_hostile_name_has_no_effect_in_messages(tmp_path: Path) -> None:
    """In a mail a name must not act as markup, and in the chat it must not notify anyone."""
    alerts = [_alert("<!channel><script>"), _alert("<!here>", "resolved")]
    page = _rendered("html", alerts, tmp_path)
    assert "&lt;!channel&gt;&lt;script&gt; → Braze" in page
    assert "<script" not in page
    chat = _rendered("chat", alerts, tmp_path)
    assert "&lt;!channel&gt;&lt;script&gt; → Braze" in chat
    assert "• &lt;!here&gt;: resolved, alert from" in chat
    for several in (alerts, [*alerts, _alert("orders")]):
        title = _rendered("chat_title", several, tmp_path)
        assert "&lt;!channel&gt;&lt;script&gt;" in title
        assert "<!" not in title


@pytest.mark.parametrize("template", ["chat", "text", "html"])
def test_a_mail_lists_at_most_twenty_integrations(template: str, tmp_path: Path) -> None:
    """The subject has three names, the text has twenty, and the message gives the total."""
    alerts = [_alert(f"sync-{number}") for number in range(25)]
    text = _rendered(template, alerts, tmp_path)
    assert text.count(": no delivery for") == 20
    assert "These are 20 of 25." in text
    title = _rendered("title", alerts, tmp_path)
    wanted = "Act now: BrazeCDISyncLate in Braze production: sync-0, sync-1, sync-2 … (25)"
    assert title == wanted
