"""The workspaces as prometheus_client's families: the reference for the exporter's own writer."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric as Family

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.exposition.families import empty_family
from cdi_exporter.exposition.samples import (
    Points,
    as_float,
    integration_points,
    printable,
    workspace_points,
)
from cdi_exporter.snapshot import WorkspaceSnapshot


def workspace_families(workspaces: Sequence[WorkspaceSnapshot]) -> Iterator[Family]:
    """The families of the workspaces that have samples, in the catalog's order."""
    for metric in (*catalog.PER_INTEGRATION, *catalog.PER_WORKSPACE):
        family = empty_family(metric)
        for workspace in workspaces:
            for identity, points in _identified(metric, workspace):
                for value, further, suffix in points:
                    labels = {name: printable(text) for name, text in (*identity.items(), *further)}
                    family.add_sample(metric.name + suffix, labels, as_float(value))
        if family.samples:
            yield family


def _identified(
    metric: Metric, workspace: WorkspaceSnapshot
) -> Iterator[tuple[dict[str, str], Points]]:
    if metric in catalog.PER_WORKSPACE:
        yield from workspace_points(metric, workspace)
        return
    for each in workspace.integrations:
        names = (workspace.name, each.facts.id, each.facts.name)
        labels = dict(zip(catalog.INTEGRATION, names, strict=True))
        yield labels, integration_points(metric, each)
