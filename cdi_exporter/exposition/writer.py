"""Writes the lines of the exposition, many times faster than the library.

The line of a sample is the same in text 0.0.4 and in OpenMetrics 1.0.0. Only the lines before a
family differ, and the library writes those. Labels are in alphabetical order, as in the library's
output, so that tests can compare the bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import zip_longest
from operator import is_

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.families import OPENMETRICS_END, empty_family, write_families
from cdi_exporter.exposition.samples import (
    BY_STATUS,
    FACT_SETS,
    FACTS,
    FRESHNESS,
    STATUS_LABELS,
    Value,
    as_float,
    go_float,
    printable,
    workspace_points,
)
from cdi_exporter.snapshot import Facts, WorkspaceSnapshot

BLOCK = 16
"""Integrations whose lines are written together. If one changes, the lines of all are written
again; with fewer, a page on which nothing changed takes longer."""


def families_text(
    workspaces: Sequence[WorkspaceSnapshot],
    lines: Sequence[Sequence["IntegrationLines"]],
    *,
    openmetrics: bool,
) -> Iterator[bytes]:
    """The text of each family that has samples, in the catalog's order.

    `lines` has the result of `integration_lines` for each workspace.
    """
    for metric in catalog.PER_INTEGRATION:
        read = FRESHNESS.get(metric)
        text = "".join(
            each.of_values(metric, map(read, workspace.integrations[index * BLOCK :]))
            if read
            else each.of_facts(metric)
            for workspace, blocks in zip(workspaces, lines, strict=True)
            for index, each in enumerate(blocks)
        )
        if text:
            yield header(metric, openmetrics=openmetrics) + text.encode()
    for metric in catalog.PER_WORKSPACE:
        text = "".join(_workspace_lines(metric, workspaces))
        if text:
            yield header(metric, openmetrics=openmetrics) + text.encode()


def integration_lines(
    workspace: WorkspaceSnapshot, kept: Sequence["IntegrationLines"], *, keep: bool
) -> list["IntegrationLines"]:
    """The lines of a workspace's integrations, reusing those of `kept` that are still valid.

    `keep`: whether the result will be the `kept` of the next call.
    """
    facts = [each.facts for each in workspace.integrations]
    blocks = [facts[start : start + BLOCK] for start in range(0, len(facts), BLOCK)]
    return [
        old
        if old and old.are_of(workspace.name, block)
        else IntegrationLines(workspace.name, block, keep=keep)
        for old, block in zip_longest(kept[: len(blocks)], blocks)
    ]


def number(value: float) -> str:
    """The value as the library writes it; `repr` is faster for the common small values."""
    if -1e6 < value < 1e6:
        return repr(float(value))
    return go_float(as_float(value))


@cache
def header(metric: Metric, *, openmetrics: bool) -> bytes:
    """The family's HELP, TYPE and UNIT lines."""
    lines = write_families([empty_family(metric)], openmetrics=openmetrics)
    return lines.removesuffix(OPENMETRICS_END)


def escaped(text: str) -> str:
    """The text of a label's value, escaped."""
    return printable(text).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _workspace_lines(metric: Metric, workspaces: Sequence[WorkspaceSnapshot]) -> Iterator[str]:
    for workspace in workspaces:
        for identity, points in workspace_points(metric, workspace):
            for value, further, suffix in points:
                labels = sorted((*identity.items(), *further))
                text = ",".join(f'{name}="{escaped(label)}"' for name, label in labels)
                yield f"{metric.name}{suffix}{{{text}}} {number(value)}\n"


@lru_cache(maxsize=1024)
def _between(labels: tuple[tuple[str, str], ...]) -> str:
    """The additional labels of a family.

    Their names sort between `integration_*` and `workspace`.
    """
    return "".join(f',{name}="{escaped(text)}"' for name, text in sorted(labels))


_STATUS_TEXTS = tuple(map(_between, STATUS_LABELS))


class IntegrationLines:
    """The lines of a few integrations of one workspace.

    With `keep`, lines that depend only on facts are written once.
    """

    def __init__(self, workspace: str, facts: Sequence[Facts], *, keep: bool = True) -> None:
        self._workspace, self._facts, self._keep = workspace, facts, keep
        self._before = [
            f'{{integration_id="{escaped(each.id)}",integration_name="{escaped(each.name)}"'
            for each in facts
        ]
        self._after = f',workspace="{escaped(workspace)}"}} '
        self._labels = [before + self._after for before in self._before]
        self._written: dict[str, str] = {}

    def are_of(self, workspace: str, facts: Sequence[Facts]) -> bool:
        """Whether these are the lines of the same workspace and the same facts objects."""
        return workspace == self._workspace and same_objects(facts, self._facts)

    def of_facts(self, metric: Metric) -> str:
        """The lines of a family that depends only on facts."""
        text = self._written.get(metric.name)
        if text is None:
            text = self._lines_of_facts(metric)
            if self._keep:
                self._written[metric.name] = text
        return text

    def _lines_of_facts(self, metric: Metric) -> str:
        if read := FACTS.get(metric):
            return self.of_values(metric, map(read, self._facts))
        name, after = metric.name, self._after
        integrations = zip(self._before, self._facts, strict=True)
        if by_status := BY_STATUS.get(metric):
            lines = [
                f"{name}{before}{status}{after}{number(value)}\n"
                for before, facts in integrations
                for status, value in zip(_STATUS_TEXTS, by_status(facts), strict=False)
            ]
        else:
            points = FACT_SETS[metric]
            lines = [
                f"{name}{suffix}{before}{_between(labels)}{after}{number(value)}\n"
                for before, facts in integrations
                for value, labels, suffix in points(facts)
            ]
        return "".join(lines)

    def of_values(self, metric: Metric, values: Iterable[Value]) -> str:
        """The lines of a family with a value per integration; there may be more values."""
        pairs = zip(self._labels, values, strict=False)
        lines = [
            f"{metric.name}{labels}{number(value)}\n"
            for labels, value in pairs
            if value is not None
        ]
        return "".join(lines)


def same_objects(old: Sequence[object], new: Sequence[object]) -> bool:
    """Whether both contain the same objects in the same order."""
    return len(old) == len(new) and all(map(is_, old, new))
