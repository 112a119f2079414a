"""A 30-day backfill from a simulated Braze, through promtool, into a real Prometheus."""

import math
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from cdi_exporter import catalog
from cdi_exporter.backfill.day_files import FAMILIES
from cdi_exporter.model import FAILURES, FINISHED_STATUSES, Run, Status
from tests.e2e.processes import (
    ROOT,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    program,
    running,
    serves,
)
from tests.simulator import HISTORY, LIST, IntegrationSpec, Profile, Simulator

pytestmark = pytest.mark.timeout(900)

KEY = "key-of-the-past"
DAY = 86_400
HOSTILE = 'pur"chases\\ \n{é}'
SPECS = {
    "good": IntegrationSpec("good", "users-hourly", interval=3600.0, rows_median=900.0),
    "lossy": IntegrationSpec("lossy", "orders", interval=1800.0, profile=Profile.PARTIAL),
    "failing": IntegrationSpec("failing", "events", interval=3600.0, profile=Profile.FAILING),
    "broken": IntegrationSpec(
        "broken", HOSTILE, interval=6 * 3600.0, profile=Profile.MISCONFIGURED
    ),
}
STEP = 240
"""The default number of seconds between two samples."""

LIMITS = {LIST: 1_000_000, HISTORY: 1_000_000}
FREELY = "rate_limits: {integrations: 100000, job_sync_status: 100000}"


@contextmanager
def served(simulator: Simulator) -> Iterator[int]:
    """Serve the simulated workspace. Yields the port."""
    port = free_port()
    config = uvicorn.Config(
        simulator, host="127.0.0.1", port=port, log_level="error", date_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, "the simulated workspace listens")
        yield port
    finally:
        server.should_exit = True
        thread.join()


def simulated(*specs: IntegrationSpec) -> Simulator:
    """A workspace with a long enough history and with limits that are never reached."""
    return Simulator(specs, time.time, key=KEY, seed=5, retention=90.0 * DAY, limits=LIMITS)


def config_file(path: Path, braze: int, refresh: str = FREELY) -> Path:
    """A configuration with one workspace."""
    path.write_text(f"""
refresh: {{{refresh}}}
workspaces:
  - {{name: production, endpoint: "http://127.0.0.1:{braze}", api_key: {KEY}}}
""")
    return path


def backfill(*flags: str, expect: int = 0) -> str:
    """The output of a backfill, which must exit with the status `expect`."""
    done = subprocess.run(
        exporter_command("backfill", *flags),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stdout


def blocks_of(files: Sequence[Path], data: Path) -> int:
    """Convert day files to blocks with promtool. Returns the number of samples."""
    promtool = program("promtool")
    for file in files:
        command = [
            promtool,
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "-q",
            str(file),
            str(data),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    listed = subprocess.run(
        [promtool, "tsdb", "list", str(data)], check=True, capture_output=True, text=True
    )
    return sum(int(line.split()[4]) for line in listed.stdout.splitlines()[1:])


@dataclass
class Past:
    """A Prometheus with backfilled data, and the runs that really took place."""

    simulator: Simulator
    url: str
    first: int
    last: int
    instance: str

    def get(self, path: str, **params: Any) -> Any:
        """The data of a response of the Prometheus API."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=60).json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    def at(self, expression: str, instant: float) -> dict[tuple[str, str], float]:
        """An instant query. Returns the values by integration and status."""
        data = self.get("query", query=expression, time=instant)
        return {
            (each["metric"].get("integration_id", ""), each["metric"].get("status", "")): float(
                each["value"][1]
            )
            for each in data["result"]
        }

    def series(self, since: float, until: float) -> set[tuple[tuple[str, str], ...]]:
        """The series of the good integration that have samples between these times."""
        selector = '{__name__=~"braze_cdi_.+",integration_id="good"}'
        found = self.get("series", **{"match[]": selector}, start=since, end=until)
        return {tuple(sorted(each.items())) for each in found}

    def finished(self, identifier: str, instant: float) -> list[Run]:
        """The finished runs as they really were, oldest first."""
        states = self.simulator.truth.run_states_at(identifier, instant)
        return sorted((run for run in states if run.finished), key=lambda run: run.order)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """30 days of blocks in a Prometheus that also scrapes the exporter."""
    tmp = tmp_path_factory.mktemp("past")
    simulator = simulated(*SPECS.values())
    exporter, prometheus = free_port(), free_port()
    instance = f"127.0.0.1:{exporter}"
    (tmp / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {"job_name": "braze-cdi", "static_configs": [{"targets": [instance]}]}
                ],
            }
        )
    )
    with served(simulator) as braze:
        config = config_file(tmp / "config.yml", braze)
        labels = ("--label=job=braze-cdi", f"--label=instance={instance}")
        output, data = tmp / "history", tmp / "tsdb"
        printed = backfill(f"--config.file={config}", f"--output={output}", *labels)
        span = re.search(r"^(\S+Z) to (\S+Z),", printed, re.MULTILINE)
        written = re.search(r"^(\d+) samples,", printed, re.MULTILINE)
        assert span, printed
        assert written, printed
        first, last = (int(datetime.fromisoformat(each).timestamp()) for each in span.groups())
        files = sorted(output.glob("*.om"))
        assert [file.name for file in files] == day_files(first, last)
        assert blocks_of(files, data) == int(written[1]) == sum(map(samples_in, files))
        with (
            running(
                exporter_command(f"--config.file={config}", f"--web.listen-address={instance}"),
                tmp / "exporter.log",
            ),
            running(
                [
                    program("prometheus"),
                    f"--config.file={tmp}/prometheus.yml",
                    f"--storage.tsdb.path={data}",
                    "--storage.tsdb.retention.time=10y",
                    f"--web.listen-address=127.0.0.1:{prometheus}",
                ],
                tmp / "prometheus.log",
            ),
        ):
            url = f"http://127.0.0.1:{prometheus}"
            serves(f"{url}/-/ready")
            yield Past(simulator, url, first, last, instance)


def day_files(first: int, last: int) -> list[str]:
    """The file names for a range: one for each UTC day that overlaps it."""
    return [f"braze-cdi-{utc(day * DAY)[:10]}.om" for day in range(first // DAY, last // DAY + 1)]


def samples_in(file: Path) -> int:
    """The number of lines in a file that are samples."""
    return sum(not line.startswith(b"#") for line in file.read_bytes().splitlines())


def instants(past: Past) -> list[int]:
    """Both ends of the range and some random instants in between."""
    draw = random.Random(30)
    between = range(past.first, past.last + 1, STEP)
    return [past.first, *sorted(draw.sample(between, 10)), past.last]


def test_backfilled_counters_match_the_runs(past: Past) -> None:
    """At any instant, runs by status, rows and durations equal those since the first instant."""
    for instant in instants(past):
        truth = {each: past.simulator.truth.totals(each, past.first, instant) for each in SPECS}
        assert past.at("braze_cdi_syncs_total", instant) == {
            (each, status.value): counters.syncs(status)
            for each, counters in truth.items()
            for status in FINISHED_STATUSES
        }
        for name, read in (
            ("braze_cdi_rows_synced_total", "rows_synced"),
            ("braze_cdi_rows_failed_total", "rows_failed"),
            ("braze_cdi_sync_duration_seconds_count", "duration_count"),
            ("braze_cdi_sync_duration_seconds_sum", "duration_sum"),
        ):
            assert past.at(name, instant) == pytest.approx(
                {(each, ""): getattr(counters, read) for each, counters in truth.items()}
            ), (name, instant)


def test_backfilled_last_syncs_match_the_runs(past: Past) -> None:
    """Status, rows, duration and times of the last sync, last success, consecutive failures."""
    for instant in instants(past):
        finished = {each: past.finished(each, instant) for each in SPECS}
        last = {each: runs[-1] for each, runs in finished.items()}
        assert past.at("braze_cdi_last_sync_status == 1", instant) == {
            (each, run.status.value): 1 for each, run in last.items()
        }
        facts = {
            "rows_synced": "rows_synced",
            "rows_failed": "rows_failed",
            "duration_seconds": "duration",
            "start_timestamp_seconds": "start",
            "finish_timestamp_seconds": "finish",
        }
        for name, read in facts.items():
            known = {(each, ""): getattr(run, read) for each, run in last.items()}
            given = {key: value for key, value in known.items() if value is not None}
            assert past.at(f"braze_cdi_last_sync_{name}", instant) == pytest.approx(given)
        assert past.at("braze_cdi_consecutive_failures", instant)["failing", ""] == next(
            number
            for number, run in enumerate(reversed(finished["failing"]))
            if run.status not in FAILURES
        )
        assert past.at("braze_cdi_last_success_timestamp_seconds", instant)["good", ""] == (
            pytest.approx(
                max(run.finish or 0 for run in finished["good"] if run.status is Status.SUCCESS)
            )
        )


def quiet_a_day_before(past: Past, instant: int) -> int:
    """The last instant up to this one for which no run ended within a step of one day earlier.

    In Prometheus 2 a range includes its first instant. In Prometheus 3 it does not.
    """
    totals = past.simulator.truth.totals
    while any(totals(each, instant - DAY, instant - DAY + STEP).total for each in SPECS):
        instant -= STEP
    return instant


def test_increases_over_backfilled_data_match_the_runs(past: Past) -> None:
    """Both increase() over a day, which extrapolates, and the plain difference are right."""
    for name, read in (("syncs", "total"), ("rows_synced", "rows_synced")):
        metric = f"sum by (integration_id) (increase(braze_cdi_{name}_total[1d]))"
        for latest in (past.last, past.last - 9 * DAY, past.first + 5 * DAY):
            instant = quiet_a_day_before(past, latest)
            totals = {
                each: getattr(past.simulator.truth.totals(each, instant - DAY, instant), read)
                for each in SPECS
            }
            found = past.at(metric, instant)
            assert found == pytest.approx(
                {(each, ""): number for each, number in totals.items()}, rel=0.01
            ), (name, instant)


def wait_for_a_scrape(past: Past) -> None:
    """Wait until Prometheus has scraped the runs of every integration."""
    known = "braze_cdi_last_sync_finish_timestamp_seconds"
    eventually(
        lambda: len(past.at(known, time.time())) == len(SPECS),
        "Prometheus has scraped all integrations",
    )


def test_backfilled_series_equal_scraped_series(past: Past) -> None:
    """Backfilled series have the same names and labels as scraped ones, and none is missing."""
    wait_for_a_scrape(past)
    now = past.series(time.time() - 60, time.time())
    then = past.series(past.last - 3600, past.last)
    changing = catalog.RUNNING_SYNC_START.name

    def settled(series: set[tuple[tuple[str, str], ...]]) -> set[tuple[tuple[str, str], ...]]:
        return {each for each in series if dict(each)["__name__"] != changing}

    from_runs = {
        each
        for each in now
        if any(dict(each)["__name__"].startswith(family.name) for family in FAMILIES)
    }
    assert settled(then) == settled(from_runs)
    assert {dict(each)["instance"] for each in then} == {past.instance}


def test_a_hostile_name_is_preserved(past: Past) -> None:
    """Quotes, backslashes and line breaks in a name survive promtool."""
    data = past.get(
        "query", query='braze_cdi_syncs_running{integration_id="broken"}', time=past.last
    )
    assert [each["metric"]["integration_name"] for each in data["result"]] == [HOSTILE]


def test_the_end_of_the_backfill_is_one_counter_reset_without_an_increase(past: Past) -> None:
    """When the live counters start at 0, increase() continues without a jump."""
    wait_for_a_scrape(past)
    selector = 'braze_cdi_syncs_total{integration_id="good",status="success"}'
    now = time.time()
    window = f"[{math.ceil(now - past.last) + 6 * 3600}s]"
    assert past.at(f"resets({selector}{window})", now) == {("good", "success"): 1}
    truth = past.simulator.truth.totals("good", past.last - 6 * 3600, past.last).success
    since_the_seam = past.at(selector, now)["good", "success"]
    increase = past.at(f"increase({selector}{window})", now)
    assert increase["good", "success"] == pytest.approx(truth + since_the_seam, rel=0.1)


def expressions() -> dict[str, str]:
    """The expressions of all rules, by name."""
    rules = yaml.safe_load((ROOT / "prometheus" / "rules" / "braze-cdi.yml").read_text())
    return {
        rule.get("alert") or rule["record"]: rule["expr"]
        for group in rules["groups"]
        for rule in group["rules"]
    }


def test_each_rule_can_be_evaluated_over_backfilled_data(past: Past) -> None:
    """No expression fails on backfilled series or at the boundary with the live series."""
    for expression in expressions().values():
        past.get("query_range", query=expression, start=past.first, end=past.last, step=6 * 3600)
        past.get("query_range", query=expression, start=past.last - 3600, end=time.time(), step=240)


def test_rules_about_runs_fire_over_backfilled_data(past: Past) -> None:
    """A misconfigured sync and a sync that fails repeatedly would have raised alerts."""
    for name, identifier in (
        ("BrazeCDISyncConfigError", "broken"),
        ("BrazeCDISyncFailing", "failing"),
    ):
        data = past.get(
            "query_range",
            query=expressions()[name],
            start=past.first,
            end=past.last,
            step=3600,
        )
        assert identifier in {each["metric"]["integration_id"] for each in data["result"]}, name


# Ctrl-C


def test_backfill_resumes_after_an_interrupted_read(tmp_path: Path) -> None:
    """The resumed job gives the same files as a job that was not interrupted.

    No day file is written before all is read, and no page is read twice.
    """
    now = int(time.time())
    simulator = simulated(IntegrationSpec("one", "one", interval=1800.0), SPECS["good"])
    span = (f"--since={utc(now - 20 * DAY)}", f"--until={utc(now - 3 * 3600)}", "--step=1h")
    with served(simulator) as braze:
        slow = config_file(tmp_path / "slow.yml", braze, "rate_limit_share: 0.8")
        fast = config_file(tmp_path / "fast.yml", braze)
        flags = (f"--output={tmp_path / 'a'}", *span)
        request_times = simulator.traffic[HISTORY].times
        command = exporter_command("backfill", f"--config.file={slow}", *flags)
        with running(command, tmp_path / "log") as process:
            eventually(lambda: len(request_times) >= 40, "half of the share of the limit is spent")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        log = (tmp_path / "log").read_text()
        assert "interrupted: rerun the same command to resume" in log
        assert "Traceback" not in log
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["backfill.spool"]
        assert len(request_times) == 40
        printed = backfill(f"--config.file={fast}", *flags)
        assert "resuming what was started at" in printed
        interrupted = len(request_times)
        backfill(f"--config.file={fast}", f"--output={tmp_path / 'b'}", *span)
        at_once = len(request_times) - interrupted
    assert interrupted <= at_once + 4  # the pages that were being read at the interruption
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) >= 20


def test_an_interrupted_write_leaves_only_complete_files(tmp_path: Path) -> None:
    """Each day file that exists is complete. The same command writes the rest."""
    now = int(time.time()) // 60 * 60  # the range starts and ends at a sample
    first, last = now - 60 * DAY, now - 3 * 3600
    span = (f"--since={utc(first)}", f"--until={utc(last)}", "--step=1m")
    with served(simulated(SPECS["broken"])) as braze:
        config = config_file(tmp_path / "config.yml", braze)
        output = tmp_path / "a"
        flags = (f"--config.file={config}", f"--output={output}", *span)
        with running(exporter_command("backfill", *flags), tmp_path / "log") as process:
            eventually(lambda: [*output.glob("*.om")], "a file is written")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        assert "Traceback" not in (tmp_path / "log").read_text()
        assert not [*output.glob("*.unfinished")]
        whole = contents(output)
        assert all(content.endswith(b"\n# EOF\n") for content in whole.values())
        backfill(*flags)
    assert sorted(contents(output)) == day_files(first, last)
    assert whole.items() <= contents(output).items()


def utc(moment: float) -> str:
    """The time in the format of the flags."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def contents(output: Path) -> dict[str, bytes]:
    """The day files, by name."""
    return {path.name: path.read_bytes() for path in output.glob("*.om")}
