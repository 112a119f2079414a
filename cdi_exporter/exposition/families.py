"""The exposition as prometheus_client's families: the reference for our own writer.

The library writes them as text 0.0.4 and as OpenMetrics 1.0.0. `serve` uses this way for
the exporter's own few families, and `writer` for the many of the workspaces; tests hold
the two ways equal.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client import exposition as text_format
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.registry import Collector

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.samples import printable, samples
from cdi_exporter.snapshot import WorkspaceSnapshot

OPENMETRICS_END = b"# EOF\n"


class FamilyCollector(Collector):
    """Collects the families that it was given."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        """The families, in their order."""
        return self._families


def empty_family(metric: Metric) -> Family:
    """The library's family for one entry of the catalog, without samples."""
    name = metric.name.removesuffix("_total") if metric.type == "counter" else metric.name
    return Family(name, metric.help, metric.type, metric.unit)


def workspace_families(workspaces: Sequence[WorkspaceSnapshot]) -> Iterator[Family]:
    """The families of the workspaces that have samples, in the catalog's order."""
    for metric in (*catalog.PER_INTEGRATION, *catalog.PER_WORKSPACE):
        family = empty_family(metric)
        for name, labels, value in samples(metric, workspaces):
            family.add_sample(name, labels, value)
        if family.samples:
            yield family


def write_families(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The families as the library writes them; in OpenMetrics with `# EOF` at the end."""
    collector = FamilyCollector(families)
    if openmetrics:
        write = openmetrics_format.generate_latest
        page: bytes = write(collector)  # type: ignore[no-untyped-call]  # not annotated
        return page
    return text_format.generate_latest(collector)


def process_collectors() -> tuple[Collector, ...]:
    """Collectors of `process_*` and `python_info`, registered nowhere."""
    # The library's constructors take None for "no registry" and are annotated without it.
    return ProcessCollector(registry=None), PlatformCollector(registry=None)


def own_families(
    version: str,
    *,
    reload_successful: bool,
    reloaded: float | None,
    state_writes_failed: int,
    web_reload_successful: bool | None = None,
    web_reloaded: float | None = None,
    log_lines_dropped: int = 0,
    file_reloads: Mapping[tuple[str, str], bool] = MappingProxyType({}),
    database_up: bool | None = None,
    leaders: Mapping[str, bool] = MappingProxyType({}),
    collectors: Iterable[Collector] = (),
) -> Iterator[Family]:
    """The exporter's own families: those of `catalog.OWN`, then those of the collectors.

    `reloaded` is when the configuration was last loaded successfully, in Unix seconds;
    `web_reloaded` the same of the web configuration, None without one. `file_reloads`
    says by workspace and kind of file whether its newest version is in use. `database_up` is None
    if the exporter shares no database; `leaders` says by workspace whether this exporter leads it.
    """
    build = {"version": version, "python_version": platform.python_version()}
    values: dict[Metric, tuple[dict[str, str], float | None]] = {
        catalog.BUILD_INFO: (build, 1),
        catalog.CONFIG_RELOAD_SUCCESSFUL: ({}, reload_successful),
        catalog.CONFIG_RELOAD_TIME: ({}, reloaded),
        catalog.WEB_CONFIG_RELOAD_SUCCESSFUL: ({}, web_reload_successful),
        catalog.WEB_CONFIG_RELOAD_TIME: ({}, web_reloaded),
        catalog.STATE_WRITES_FAILED: ({}, state_writes_failed),
        catalog.DATABASE_UP: ({}, database_up),
        catalog.LOG_LINES_DROPPED: ({}, log_lines_dropped),
    }
    for metric, (labels, value) in values.items():
        if value is not None:
            family = empty_family(metric)
            family.add_sample(metric.name, labels, value)
            yield family
    yield from _labelled_family(catalog.FILE_RELOAD_SUCCESSFUL, file_reloads.items())
    yield from _labelled_family(
        catalog.LEADER, (((name,), leads) for name, leads in leaders.items())
    )
    for collector in collectors:
        yield from collector.collect()


def _labelled_family(
    metric: Metric, values: Iterable[tuple[tuple[str, ...], bool]]
) -> Iterator[Family]:
    """The family with one sample for each set of label values; none without samples."""
    family = empty_family(metric)
    for labels, value in values:
        shown = dict(zip(metric.labels, map(printable, labels), strict=True))
        family.add_sample(metric.name, shown, value)
    if family.samples:
        yield family
