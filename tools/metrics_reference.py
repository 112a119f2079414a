"""Writes `docs/metrics.md` from the catalog: `python tools/metrics_reference.py`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from jinja2 import Template

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.model import FINISHED_STATUSES, Endpoint, Status
from cdi_exporter.problems import REASONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
TEMPLATE = Path(__file__).parent / "templates" / "metrics.md.j2"

_SECTIONS = (
    ("Per integration", catalog.PER_INTEGRATION, catalog.INTEGRATION),
    ("Per workspace", catalog.PER_WORKSPACE, catalog.WORKSPACE),
    ("The exporter itself", catalog.OWN, ()),
)

_STATUSES = {
    Status.SUCCESS: "All rows were synced.",
    Status.PARTIAL: "Some rows failed.",
    Status.ERROR: "The run failed; no rows were synced.",
    Status.CONFIG_ERROR: "The integration's configuration is wrong; it must be corrected in Braze.",
    Status.UNKNOWN: "Braze reported a status that this version does not know.",
}
_REASONS = {
    "unauthorized": "401: Braze does not know the API key.",
    "forbidden": "403: the API key lacks a permission, or its IP allowlist excludes this machine.",
    "rate_limited": "429: the rate limit is spent.",
    "timeout": "No complete answer within `request_timeout`.",
    "connection": "No connection: refused, reset, name resolution, TLS, or a broken-off answer.",
    "server_error": "5xx: Braze, or a proxy in front of it, has a problem.",
    "invalid_response": "Something other than the documented answer, for example from a proxy.",
    "other": "Anything else, such as 400, 404 or an internal error.",
}
_ENDPOINTS = {
    Endpoint.INTEGRATIONS: "The list of integrations, `GET /cdi/integrations`.",
    Endpoint.HISTORY: "The history (job sync status) of an integration, "
    "`GET /cdi/integrations/{id}/job_sync_status`.",
}
_CODES = {
    "200": "A documented answer.",
    "400, 401, 403, 404, 429, 5xx, …": "The HTTP status of any other answer.",
    "timeout": "No complete answer within `request_timeout`.",
    "connect_error": "No connection, or one that broke: refused, reset, TLS, cut short.",
    "invalid_response": "A 200 that is not the documented answer, or is too large.",
}
_KINDS = {
    "api_key": "The file of `api_key_file` or `BRAZE_API_KEY_FILE`.",
    "ca_file": "The file of `ca_file`.",
}


def _label_values() -> Iterator[str]:
    """A row for each value of each label that has a fixed set of values."""
    labels = {
        "status": {each.value: _STATUSES[each] for each in FINISHED_STATUSES},
        "reason": {each: _REASONS[each] for each in REASONS},
        "endpoint": {each.value: _ENDPOINTS[each] for each in Endpoint},
        "code": _CODES,
        "kind": _KINDS,
    }
    for label, values in labels.items():
        for value, meaning in values.items():
            yield f"| `{label}` | `{value}` | {meaning} |"


def _section(title: str, metrics: Iterable[Metric], common: tuple[str, ...]) -> str:
    shared = ", ".join(f"`{label}`" for label in common)
    lines = [f"## {title}", "", *([f"Labels of all: {shared}.", ""] if common else [])]
    heading = "further labels" if common else "labels"
    lines += [f"| name | type | {heading} | |", "|---|---|---|---|"]
    for metric in metrics:
        further = ", ".join(f"`{label}`" for label in metric.labels if label not in common)
        text = metric.help.replace("|", "\\|")
        lines.append(f"| `{metric.name}` | {metric.type} | {further} | {text} |")
    return "\n".join([*lines, ""])


def reference() -> str:
    """The text of the page."""
    template = Template(TEMPLATE.read_text("utf-8"), keep_trailing_newline=True)
    sections = [_section(*section) for section in _SECTIONS]
    text: str = template.render(sections=sections, label_values=_label_values())
    return text


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
