"""The exporter's own families, and how prometheus_client writes them.

The library writes text 0.0.4 and OpenMetrics 1.0.0. It is used for the exporter's own few families
and for the HELP, TYPE and UNIT lines. `writer` writes the many samples of the workspaces; tests
check that its output equals the library's.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client import exposition as text_format
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.registry import Collector

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.samples import printable

OPENMETRICS_END = b"# EOF\n"

Values = Mapping[tuple[str, ...], float]
"""The samples of a family by the values of its labels."""


class FamilyCollector(Collector):
    """Passes families to the library, which writes what a collector returns."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        """The families, in order."""
        return self._families


def empty_family(metric: Metric) -> Family:
    """The library's family for one entry of the catalog, without samples."""
    name = metric.name.removesuffix("_total") if metric.type == "counter" else metric.name
    return Family(name, metric.help, metric.type, metric.unit)


def write_families(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The families as the library writes them; in OpenMetrics with `# EOF` at the end."""
    collector = FamilyCollector(families)
    if openmetrics:
        write = openmetrics_format.generate_latest
        page: bytes = write(collector)  # type: ignore[no-untyped-call]  # not annotated
        return page
    return text_format.generate_latest(collector)


def process_collectors() -> tuple[Collector, ...]:
    """Collectors of `process_*` and `python_info`, without a registry."""
    # The library's constructors accept None for "no registry", but are annotated without it.
    return ProcessCollector(registry=None), PlatformCollector(registry=None)


def own_families(
    values: Mapping[Metric, Values], collectors: Iterable[Collector] = ()
) -> Iterator[Family]:
    """The families of `catalog.OWN` that have values, then those of the collectors."""
    for metric in catalog.OWN:
        family = empty_family(metric)
        for labels, value in values.get(metric, {}).items():
            shown = dict(zip(metric.labels, map(printable, labels), strict=True))
            family.add_sample(metric.name, shown, value)
        if family.samples:
            yield family
    for collector in collectors:
        yield from collector.collect()
