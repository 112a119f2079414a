"""Alerts on the exporter itself."""

from cdi_exporter import catalog
from tools.prometheus_rules.facts import OF_WORKSPACE, OVERVIEW, Facts
from tools.prometheus_rules.promql import increase, newest, number
from tools.prometheus_rules.rule import Alert, Group
from tools.prometheus_rules.thresholds import Thresholds

INSTANCE = ("job", "instance")
_WHERE = "{{ $labels.instance }} (job {{ $labels.job }})"


def exporter_alerts(limits: Thresholds) -> Group:
    """The exporter is down, or has trouble of its own."""
    rules = (*_availability(limits), *_health(limits))
    return Group("braze-cdi-exporter", "The exporter itself", rules)


def _availability(limits: Thresholds) -> tuple[Alert, ...]:
    last = f'last_over_time(up{{job="{limits.job}"}}[{limits.lookback}])'
    down = f"max by (job, instance) ({last}) == 0"
    another = f"max by (job) ({last}) == 1"
    return (
        Alert(
            name="ExporterDown",
            severity="critical",
            expr=f"{down}\nunless on (job)\n  {another}",
            held="5m",
            summary="cdi-exporter is down: no Braze workspace is watched",
            description=f"{_WHERE} does not answer Prometheus, and no other exporter of this job "
            "does. Failed and late syncs go unseen.",
            action="See whether the process runs, read its log, start it again.",
            dashboard=OVERVIEW,
            means="Prometheus cannot scrape the exporter, nor any other of the same job.",
        ),
        Alert(
            name="ExporterInstanceDown",
            severity="warning",
            expr=f"{down}\nand on (job)\n  {another}",
            held="15m",
            summary="One of several cdi-exporters is down",
            description=f"{_WHERE} does not answer Prometheus; another exporter of this job does. "
            "A workspace that only this one reads has an alert of its own.",
            action="See whether the process runs, read its log, start it again.",
            dashboard=OVERVIEW,
            means="Prometheus cannot scrape this exporter, but another of the same job.",
        ),
        Alert(
            name="ExporterAbsent",
            severity="critical",
            expr=f'absent_over_time(up{{job="{limits.job}"}}[{limits.lookback}])',
            held="15m",
            summary="Prometheus does not scrape cdi-exporter: no Braze workspace is watched",
            description="Prometheus has no target of job {{ $labels.job }}. Failed and late syncs "
            "go unseen.",
            action="Look for the job in Prometheus under Status, Targets; correct its scrape "
            "configuration or service discovery.",
            dashboard=OVERVIEW,
            means="Prometheus has no target of the exporter's job at all.",
        ),
    )


def _health(limits: Thresholds) -> tuple[Alert, ...]:
    rejected = "\nor\n".join(
        f"{newest(metric, limits.lookback, labels=INSTANCE)} == 0"
        for metric in (catalog.CONFIG_RELOAD_SUCCESSFUL, catalog.WEB_CONFIG_RELOAD_SUCCESSFUL)
    )
    file_labels = (*INSTANCE, *catalog.FILE_RELOAD_SUCCESSFUL.labels)
    unusable = newest(catalog.FILE_RELOAD_SUCCESSFUL, limits.lookback, labels=file_labels)
    dropped = increase(catalog.LOG_LINES_DROPPED, "1h", labels=INSTANCE)
    writes = increase(catalog.STATE_WRITES_FAILED, "15m", labels=INSTANCE)
    return (
        Alert(
            name="ConfigReloadFailed",
            severity="warning",
            expr=rejected,
            held="5m",
            keep="10m",
            summary="cdi-exporter runs with an old configuration",
            description=f"{_WHERE} rejected its changed {Facts(limits).rejected_file()} and goes "
            "on with the one before. It will not start again with this file.",
            action="Read the exporter's log: it names each mistake and its line. For "
            "--config.file, so does cdi-exporter check --offline.",
            dashboard=OVERVIEW,
            means="The last reload of the configuration, or of the web configuration, failed.",
        ),
        Alert(
            name="StateWritesFailing",
            severity="warning",
            expr=f"{writes} >= {number(limits.failed_writes)}",
            held="5m",
            keep="10m",
            summary="cdi-exporter cannot write its state file",
            description=f"{_WHERE} failed to write its state file "
            '{{ $value | printf "%.0f" }} times within 15 minutes. Counters stand still '
            "until it can.",
            action="See whether the disk is full or read-only, and whether the exporter may "
            "write the file; its log has the reason.",
            dashboard=OVERVIEW,
            means="Writes to the state file fail, so that counters stand still.",
        ),
        Alert(
            name="FileReloadFailed",
            severity="warning",
            expr=f"{unusable} == 0",
            held="5m",
            keep="10m",
            summary="cdi-exporter cannot use a key or certificate file of Braze workspace "
            "{{ $labels.workspace }}",
            description=f"{_WHERE} cannot use the {Facts(limits).kind_of_file()} of workspace "
            "{{ $labels.workspace }} and continues with its last good version. The workspace "
            "becomes unreadable when Braze or a proxy no longer accepts that version.",
            action="Read the exporter's log: it names the file and the reason. Correct the file; "
            "no restart is needed.",
            dashboard=OF_WORKSPACE,
            means="A file that the configuration names (`api_key_file`, `ca_file`) was changed and "
            "cannot be used; its last good version stays in use.",
        ),
        Alert(
            name="LogLinesDropped",
            severity="info",
            expr=f"{dropped} > 0",
            held="",
            summary="cdi-exporter drops log lines",
            description=f"{_WHERE} could not write all of its log lines to stderr within the last "
            "hour. Metrics and scrapes are not affected.",
            action="See whether the program that reads the exporter's stderr (journald, the "
            "container runtime, a log shipper) runs and keeps up.",
            dashboard=OVERVIEW,
            means="Log lines could not be written to stderr and were dropped.",
        ),
    )
