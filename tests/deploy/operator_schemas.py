"""Schemas for the parts of the Prometheus operator's API that the chart uses.

The operator's own schemas are in no package, so these follow its reference. A key that is not here
is reported as an error.
"""

from typing import Any

Schema = dict[str, Any]


def closed(required: str = "", **properties: Schema) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required.split(),
    }


def many(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


TEXT: Schema = {"type": "string"}
DURATION: Schema = {
    "type": "string",
    "pattern": r"^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$",
}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
SECRET_KEY = closed("name key", name=TEXT, key=TEXT)
RELABELING = closed(
    action={"enum": ["replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep"]},
    sourceLabels=many(TEXT),
    separator=TEXT,
    targetLabel=TEXT,
    regex=TEXT,
    modulus={"type": "integer"},
    replacement=TEXT,
)
ENDPOINT = closed(
    port=TEXT,
    path=TEXT,
    interval=DURATION,
    scrapeTimeout=DURATION,
    scheme={"enum": ["http", "https"]},
    tlsConfig=closed(insecureSkipVerify={"type": "boolean"}, serverName=TEXT),
    basicAuth=closed(username=SECRET_KEY, password=SECRET_KEY),
    relabelings=many(RELABELING),
    metricRelabelings=many(RELABELING),
)
RULE = closed(
    "expr",
    alert=TEXT,
    record=TEXT,
    expr=TEXT,
    labels=TEXTS,
    annotations=TEXTS,
    **{"for": DURATION, "keep_firing_for": DURATION},
)
GROUP = closed("name rules", name=TEXT, interval=DURATION, rules=many(RULE))


def resource(kind: str, spec: Schema) -> Schema:
    """An object of the operator."""
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=closed("name labels", name=TEXT, namespace=TEXT, labels=TEXTS),
        spec=spec,
    )


SCHEMAS = {
    "ServiceMonitor": resource(
        "ServiceMonitor",
        closed(
            "selector endpoints",
            selector=closed("matchLabels", matchLabels=TEXTS),
            endpoints=many(ENDPOINT),
        ),
    ),
    "PrometheusRule": resource("PrometheusRule", closed("groups", groups=many(GROUP))),
}
