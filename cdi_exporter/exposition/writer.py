"""The lines of the exposition, written by hand: many times faster than the library.

A sample's line is the same in text 0.0.4 and in OpenMetrics 1.0.0; only the lines before a
family differ, and those come from the library. Labels are in alphabetical order, as the
library sorts them, so that the bytes can be compared.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.families import OPENMETRICS_END, empty_family, write_families
from cdi_exporter.exposition.samples import (
    BY_STATUS,
    FACT_SETS,
    FACTS,
    FRESHNESS,
    STATUS_LABELS,
    Points,
    Sample,
    Value,
    as_float,
    go_float,
    printable,
    samples,
)
from cdi_exporter.snapshot import Facts, WorkspaceSnapshot

LARGE_NUMBERS = 16_384
"""Texts of large numbers that are kept: the timestamps of 2,000 integrations, about 4 MB. To
write them again is a third of the time that it takes to write a page."""


def families_text(workspaces: Sequence[WorkspaceSnapshot], *, openmetrics: bool) -> Iterator[bytes]:
    """The text of each family that has samples, in the catalog's order."""
    lines = [IntegrationLines(workspace) for workspace in workspaces]
    for metric in catalog.PER_INTEGRATION:
        text = "".join(line for each in lines for line in each.of_family(metric))
        if text:
            yield header(metric, openmetrics=openmetrics) + text.encode()
    for metric in catalog.PER_WORKSPACE:
        text = "".join(map(_sample_line, samples(metric, workspaces)))
        if text:
            yield header(metric, openmetrics=openmetrics) + text.encode()


def number(value: float) -> str:
    """The value as the library writes it; the common small ones without its help."""
    if -1e6 < value < 1e6:
        return repr(float(value))
    return _large_number(value)


@lru_cache(maxsize=LARGE_NUMBERS)
def _large_number(value: float) -> str:
    return go_float(as_float(value))


@cache
def header(metric: Metric, *, openmetrics: bool) -> bytes:
    """The family's HELP, TYPE and UNIT lines."""
    lines = write_families([empty_family(metric)], openmetrics=openmetrics)
    return lines.removesuffix(OPENMETRICS_END)


def escaped(text: str) -> str:
    """The text as it is written between the quotes of a label's value."""
    return printable(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _sample_line(sample: Sample) -> str:
    """One line, from any sample."""
    labels = ",".join(f'{name}="{escaped(text)}"' for name, text in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}} {number(sample.value)}\n"


@lru_cache(maxsize=1024)
def _between(labels: tuple[tuple[str, str], ...]) -> str:
    """A family's further labels; their names sort between the integration's and `workspace`."""
    return "".join(f',{name}="{escaped(text)}"' for name, text in sorted(labels))


_STATUS_TEXTS = tuple(map(_between, STATUS_LABELS))


class IntegrationLines:
    """Writes the lines of one workspace's integrations, family by family."""

    def __init__(self, workspace: WorkspaceSnapshot) -> None:
        self._integrations = workspace.integrations
        self._facts = [each.facts for each in workspace.integrations]
        self._before = [
            f'{{integration_id="{escaped(each.id)}",integration_name="{escaped(each.name)}"'
            for each in self._facts
        ]
        self._after = f',workspace="{escaped(workspace.name)}"}} '
        self._labels = [before + self._after for before in self._before]

    def of_family(self, metric: Metric) -> Iterable[str]:
        """The lines of a family of `catalog.PER_INTEGRATION`."""
        if by_status := BY_STATUS.get(metric):
            return self._by_status(metric.name, by_status)
        if several := FACT_SETS.get(metric):
            return self._several(metric.name, several)
        if one := FACTS.get(metric):
            return self._one_each(metric.name, map(one, self._facts))
        return self._one_each(metric.name, map(FRESHNESS[metric], self._integrations))

    def _one_each(self, name: str, values: Iterable[Value]) -> Iterable[str]:
        return [
            f"{name}{labels}{number(value)}\n"
            for labels, value in zip(self._labels, values, strict=True)
            if value is not None
        ]

    def _by_status(self, name: str, read: Callable[[Facts], Iterable[float]]) -> Iterable[str]:
        after = self._after
        return [
            f"{name}{before}{status}{after}{number(value)}\n"
            for before, facts in zip(self._before, self._facts, strict=True)
            for status, value in zip(_STATUS_TEXTS, read(facts), strict=False)
        ]

    def _several(self, name: str, read: Callable[[Facts], Points]) -> Iterable[str]:
        after = self._after
        return [
            f"{name}{suffix}{before}{_between(labels)}{after}{number(value)}\n"
            for before, facts in zip(self._before, self._facts, strict=True)
            for value, labels, suffix in read(facts)
        ]
