"""A page that changes → a real Prometheus with the rules → a real Alertmanager → a webhook."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from cdi_exporter.exposition import Exposition
from cdi_exporter.model import Counters, Run, Status
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.e2e.processes import eventually, free_port, program, running, serves
from tests.rules.alertmanager import Inbox, alertmanager, inbox
from tests.rules.scenarios import RULE_FILE, minute

HOUR = 3600.0
PER_MINUTE = 300
"""Milliseconds here for a minute of the rules' waits."""


def _orders(now: float, status: Status, success: float, failures: int) -> IntegrationSnapshot:
    run = Run(status, now - 600, now - 500, now - 700, 0, 0)
    facts = Facts(
        id="8d42",
        name="orders",
        last=run,
        last_success=success,
        history_start=now - 90 * HOUR,
        consecutive_failures=failures,
        running=0,
        next_scheduled=now + 60,
        typical_interval=HOUR,
        typical_duration=100.0,
        stale_after=2 * HOUR,
        counters=Counters(success=7, error=failures),
    )
    return IntegrationSnapshot(facts, refreshed=now, up=True)


def _production(now: float, status: Status, success: float, failures: int) -> WorkspaceSnapshot:
    orders = _orders(now, status, success, failures)
    return WorkspaceSnapshot("production", (orders,), up=True, last_refresh=now)


def _europe(now: float, error: str | None) -> WorkspaceSnapshot:
    """Fifty integrations; where the workspace is down all of them would be late by now."""
    seen = now - HOUR / 2 if error else now
    orders = _orders(seen, Status.SUCCESS, seen - 500, 0)
    orders = replace(orders, facts=replace(orders.facts, stale_after=900.0))
    many = tuple(
        replace(orders, facts=replace(orders.facts, id=f"e{number}", name=f"events {number}"))
        for number in range(50)
    )
    return WorkspaceSnapshot("europe", many, up=not error, error=error, last_refresh=seen)


def _hastened(folder: Path) -> Path:
    """The rules, their waits cut short; windows that bridge minutes likewise."""
    rules = yaml.safe_load(RULE_FILE.read_text("utf-8"))
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            for wait in {"for", "keep_firing_for"} & rule.keys():
                rule[wait] = f"{minute(rule[wait]) * PER_MINUTE}ms"
            rule["expr"] = re.sub(r"\[(?:5|10)m\]", "[3s]", rule["expr"])
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump(rules), "utf-8")
    return path


@contextmanager
def _watched(box: Inbox, folder: Path) -> Iterator[None]:
    port = free_port()
    with alertmanager(box, folder) as address:
        target, manager = (url.removeprefix("http://") for url in (box.url, address))
        configuration = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(_hastened(folder))],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
            "scrape_configs": [
                {"job_name": "braze-cdi", "static_configs": [{"targets": [target]}]}
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), "utf-8")
        command = [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--rules.alert.resend-delay=1s",
        ]
        with running(command, folder / "prometheus.log"):
            serves(f"http://127.0.0.1:{port}/-/ready")
            yield


def test_one_notification_of_one_broken_thing(tmp_path: Path) -> None:
    """A sync that fails, its recovery, and an outage of 50 integrations: each told once."""
    now = time.time()
    well = _production(now, Status.SUCCESS, now - 500, 0)
    failing = _production(now, Status.ERROR, now - 3 * HOUR, 3)
    with inbox() as box:

        def shows(*workspaces: WorkspaceSnapshot) -> None:
            box.page = Exposition().render(workspaces)

        def told(count: int) -> list[tuple[str, str, list[str]]] | None:
            return box.notifications() if len(box.notifications()) >= count else None

        shows(failing, _europe(now, None))
        with _watched(box, tmp_path):
            eventually(lambda: told(1), "the late sync is told")
            shows(well, _europe(now, None))
            eventually(lambda: told(2), "its end is told")
            shows(well, _europe(now, "timeout"))
            eventually(lambda: told(3), "the outage is told")
            shows(well, _europe(now, None))
            eventually(lambda: told(4), "its end is told")
    assert box.notifications() == [
        ("firing", "BrazeCDISyncLate", ["orders"]),
        ("resolved", "BrazeCDISyncLate", ["orders"]),
        ("firing", "BrazeCDIApiUnreachable", ["europe"]),
        ("resolved", "BrazeCDIApiUnreachable", ["europe"]),
    ]
    _reads_well(box, now)


def _reads_well(box: Inbox, now: float) -> None:
    success = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now - 3 * HOUR))
    late, over, outage, _ = (message["attachments"][0] for message in box.posted["/chat"])
    assert late["title"] == "Act now: Data for Braze workspace production is late"
    assert late["text"].startswith(
        "• orders: no successful run for 3h 0m 0s (late after 2h 0m 0s); "
        f"last success at {success}. Last run: error; 3 failed runs in a row.\n   since "
    )
    assert "What to do:* See in Braze why the last run failed" in late["text"]
    assert over["title"] == "Resolved: Data for Braze workspace production is late"
    assert "• orders: over, from " in over["text"]
    assert outage["title"] == "Act now: Braze workspace europe cannot be read: its syncs go unseen"
    assert "• Workspace europe: Braze does not answer in time. Last complete" in outage["text"]
