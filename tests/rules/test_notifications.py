"""Notifications from a simulated Braze through the exporter, Prometheus and Alertmanager.

Prometheus and Alertmanager are real. A minute of their rules and waits takes a fraction of a
second, and a webhook receives the notifications.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx
import yaml

from tests.e2e.processes import (
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    program,
    running,
    serves,
)
from tests.rules.alertmanager import Inbox, alertmanager, inbox
from tests.rules.scenarios import all_rules, minute
from tests.shown import serving
from tests.simulator import HISTORY, LIST, Fault, FaultKind, ScriptedIntegration, Simulator

PER_MINUTE = 600
"""The milliseconds that represent one minute of the rules' waits."""

MANY = 1_000_000
KEY = "canary-key-77b1"


class Production:
    """A workspace in which `orders` runs each second, successfully or not."""

    def __init__(self) -> None:
        self.status = "success"
        self._orders = ScriptedIntegration("8d42", "orders")
        self.braze = Simulator([self._orders], time.time, key=KEY, limits=_limits())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._stop.wait(1.0):
            now = time.time()
            self._orders.run(now - 0.5, now, self.status, rows_synced=100)


class Europe:
    """A workspace of fifty integrations, which become late seconds after they appear."""

    late_after = 25.0

    def __init__(self) -> None:
        self.braze = Simulator([], time.time, key=KEY, limits=_limits())
        self._all: list[ScriptedIntegration] = []
        self.late_at = 0.0

    def appear(self) -> None:
        """Add a success to each integration, which is soon too old."""
        now = time.time()
        self.late_at = now + self.late_after
        for number in range(50):
            each = ScriptedIntegration(f"e{number}", f"events {number}")
            each.run(self.late_at - 910, self.late_at - 900)
            self._all.append(each)
        self.braze.add(*self._all)

    def fall(self) -> None:
        """Stop responding to all requests."""
        self.braze.faults.append(Fault(time.time(), MANY * 1e6, FaultKind.SERVER_ERROR))

    def rise(self) -> None:
        """Respond again. The syncs continued during the outage."""
        now = time.time()
        for each in self._all:
            each.run(now - 20, now - 10)
        self.braze.faults.clear()


def _limits() -> dict[str, int]:
    return {LIST: MANY, HISTORY: MANY}


def _hastened(folder: Path) -> Path:
    """The rules with shorter waits and shorter windows."""
    rules = yaml.safe_load(all_rules())
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = f"{minute(rule['for']) * PER_MINUTE}ms"
            rule["expr"] = re.sub(r"\[(?:5|10)m\]", "[4s]", rule["expr"])
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump(rules), "utf-8")
    return path


@contextmanager
def _exporter(production: str, europe: str, folder: Path) -> Iterator[str]:
    """Host and port of an exporter of both workspaces."""
    port = free_port()
    lateness = {
        production: [{"match": "*", "after": "3s"}],
        europe: [{"match": "*", "after": "15m"}],
    }
    workspaces = [
        {"name": name, "endpoint": url, "api_key": KEY, "stale_after": lateness[url]}
        for name, url in (("production", production), ("europe", europe))
    ]
    limits = {"integrations": MANY, "job_sync_status": MANY}
    refresh = {"min_interval": "1s", "rate_limits": limits}
    file = folder / "config.yml"
    file.write_text(yaml.safe_dump({"refresh": refresh, "workspaces": workspaces}), "utf-8")
    flags = [f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    with running(exporter_command(*flags), folder / "exporter.log", clean_environment()):
        serves(f"http://127.0.0.1:{port}/-/ready")
        yield f"127.0.0.1:{port}"


@contextmanager
def _prometheus(exporter: str, manager: str, folder: Path) -> Iterator[str]:
    """The address of a Prometheus with the rules."""
    port = free_port()
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(_hastened(folder))],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
        "scrape_configs": [{"job_name": "braze-cdi", "static_configs": [{"targets": [exporter]}]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), "utf-8")
    command = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    with running(command, folder / "prometheus.log"):
        serves(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"


def _value(prometheus: str, expression: str) -> float:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": expression}).json()
    return float(next((each["value"][1] for each in answer["data"]["result"]), 0.0))


def test_one_failure_sends_one_notification(tmp_path: Path) -> None:
    """A sync fails until its data is late while fifty others have an outage.

    Each is notified once.
    """
    with (
        inbox() as box,
        Production() as production,
        serving(production.braze) as one,
        serving((europe := Europe()).braze) as other,
        alertmanager(box, tmp_path, PER_MINUTE) as manager,
        _exporter(one, other, tmp_path) as exporter,
        _prometheus(exporter, manager.removeprefix("http://"), tmp_path) as prometheus,
    ):

        def holds(expression: str) -> None:
            eventually(lambda: _value(prometheus, expression), expression)

        def notified(status: str, alert: str) -> None:
            eventually(
                lambda: any(each[:2] == (status, alert) for each in box.notifications()),
                f"{alert} is {status}",
            )

        holds('braze_cdi_last_delivery_timestamp_seconds{integration_name="orders"}')
        europe.appear()
        holds('count(braze_cdi_last_delivery_timestamp_seconds{workspace="europe"}) == 50')
        assert box.notifications() == []
        assert time.time() < europe.late_at

        europe.fall()
        production.status = "error"
        notified("firing", "BrazeCDISyncLate")
        notified("firing", "BrazeCDIApiUnreachable")
        by_the_clock = "time() - braze_cdi_last_delivery_timestamp_seconds > 906"
        holds(f"count({by_the_clock}) == 50")

        production.status = "success"
        europe.rise()
        notified("resolved", "BrazeCDISyncLate")
        notified("resolved", "BrazeCDIApiUnreachable")
        eventually(
            lambda: httpx.get(f"{manager}/api/v2/alerts").json() == [], "all alerts are resolved"
        )
    assert sorted(box.notifications()) == [
        ("firing", "BrazeCDIApiUnreachable", ["europe"]),
        ("firing", "BrazeCDISyncLate", ["orders"]),
        ("resolved", "BrazeCDIApiUnreachable", ["europe"]),
        ("resolved", "BrazeCDISyncLate", ["orders"]),
    ]
    _reads_well(box)


def _reads_well(box: Inbox) -> None:
    messages = {
        message["attachments"][0]["title"]: message["attachments"][0]["text"]
        for message in box.posted["/chat"]
    }
    (title,) = (each for each in messages if each.startswith("Act now: orders"))
    late = r"orders → Braze production: no delivery for \d+\.?\d*s \(limit 3s\)"
    assert re.fullmatch(f"Act now: {late}", title), title
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.match(
        rf"• {late}\n   Last delivery at {when}\. Last run: error; \d+ failed runs in a row\.\n"
        rf"   Alert since {when}\n",
        messages[title],
    ), messages[title]
    assert "What to do:* Check in Braze why the last run failed" in messages[title]
    assert "example.com" not in messages[title]
    over = messages["Resolved: BrazeCDISyncLate in Braze production: orders"]
    assert re.fullmatch(rf"• orders: resolved, alert from {when} to {when}\s*", over), over
    outage = messages["Act now: Braze europe cannot be read: its syncs are not watched"]
    assert "   Braze answers with a server error (5xx). Last complete refresh at" in outage
    assert "Resolved: BrazeCDIApiUnreachable in Braze europe: workspace europe" in messages, (
        messages.keys()
    )
