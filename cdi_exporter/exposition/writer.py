"""The lines of the exposition, written by hand: many times faster than the library.

A sample's line is the same in text 0.0.4 and in OpenMetrics 1.0.0; only the lines before a
family differ, and those come from the library. Labels stand in alphabetical order, as the
library sorts them, so that the bytes can be compared.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.families import OPENMETRICS_END, empty_family, write_families
from cdi_exporter.exposition.samples import (
    FACT_SETS,
    FACTS,
    FRESHNESS,
    Points,
    Sample,
    Value,
    as_float,
    go_float,
    printable,
    samples,
)
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot


@cache
def header(metric: Metric, *, openmetrics: bool) -> bytes:
    """The family's HELP, TYPE and UNIT lines."""
    lines = write_families([empty_family(metric)], openmetrics=openmetrics)
    return lines.removesuffix(OPENMETRICS_END)


def escaped(text: str) -> str:
    """The text as it stands between the quotes of a label's value."""
    return printable(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """The value as the library writes it; the common small ones without its help."""
    exact = as_float(value)
    if -1e6 < exact < 1e6:
        return repr(exact)
    return go_float(exact)


def sample_line(sample: Sample) -> str:
    """One line, from any sample."""
    labels = ",".join(f'{name}="{escaped(text)}"' for name, text in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}} {number(sample.value)}\n"


def workspace_lines(workspace: WorkspaceSnapshot) -> list[bytes]:
    """The lines of one workspace for each family of `catalog.PER_WORKSPACE`."""
    return [
        "".join(map(sample_line, samples(metric, [workspace]))).encode()
        for metric in catalog.PER_WORKSPACE
    ]


class IntegrationLines:
    """Writes the lines of a few integrations of one workspace, family by family."""

    def __init__(self, workspace: str, facts: Sequence[Facts]) -> None:
        self._facts = facts
        self._before = [
            f'{{integration_id="{escaped(each.id)}",integration_name="{escaped(each.name)}"'
            for each in facts
        ]
        self._after = f',workspace="{escaped(workspace)}"}} '
        self._labels = [before + self._after for before in self._before]

    def of_family(self, metric: Metric, integrations: Sequence[IntegrationSnapshot]) -> bytes:
        """The lines of a family of `catalog.PER_INTEGRATION`.

        `integrations` are those of the facts: what may change while the facts stay.
        """
        if read_set := FACT_SETS.get(metric):
            return self._sets(metric.name, read_set)
        if read := FACTS.get(metric):
            return self._values(metric.name, map(read, self._facts))
        return self._values(metric.name, map(FRESHNESS[metric], integrations))

    def _values(self, name: str, values: Iterable[Value]) -> bytes:
        lines = [
            f"{name}{labels}{number(value)}\n"
            for labels, value in zip(self._labels, values, strict=True)
            if value is not None
        ]
        return "".join(lines).encode()

    def _sets(self, name: str, read: Callable[[Facts], Points]) -> bytes:
        after = self._after
        lines = [
            f"{name}{suffix}{before}{_between(labels)}{after}{number(value)}\n"
            for before, facts in zip(self._before, self._facts, strict=True)
            for value, labels, suffix in read(facts)
        ]
        return "".join(lines).encode()


@lru_cache(maxsize=1024)
def _between(labels: tuple[tuple[str, str], ...]) -> str:
    return "".join(f',{name}="{escaped(text)}"' for name, text in sorted(labels))
