"""Alerts on the exporter itself."""

from cdi_exporter import catalog
from tools.prometheus_rules.facts import OVERVIEW, Facts
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
    )
