"""The README of the Helm chart: how to install and upgrade it, and a table of its values.

python -m tools.chart_readme writes it from values.yaml, whose comments describe the values.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "cdi-exporter"
PAGE = CHART / "README.md"
LONGEST_DEFAULT = 60
"""More of a default value would make the table hard to read; values.yaml has it."""

WHOLE = ("annotations", "securitycontext", "resources")
"""How the names of maps end whose keys are not the chart's own but Kubernetes'."""

HEAD = """\
# Helm chart of cdi-exporter

A Prometheus exporter for the sync runs of Braze Cloud Data Ingestion (CDI). This page is written by
`make generated`, its table from the comments in `values.yaml`.

## Install

```sh
kubectl --namespace monitoring create secret generic braze --from-file=api-key=key
helm install cdi-exporter oci://registry.example.com/charts/cdi-exporter --namespace monitoring \\
  --set braze.restEndpoint=rest.iad-03.braze.com --set apiKeys.existingSecret=braze
```

In a checkout the chart is the folder `deploy/helm/cdi-exporter`. To see it first, without a key and
without Braze: `--set demo=true` alone. A signed release is verified with
`cosign verify registry.example.com/charts/cdi-exporter:VERSION`, with the identity of the release
workflow as `--certificate-identity` and its issuer as `--certificate-oidc-issuer`.

## Upgrade

`helm upgrade` with the same values. The pod is replaced, the counters continue from the volume, and
Prometheus misses one scrape at most. With a database (`state`), replicas are replaced one by one,
and no scrape is missed.

- Chart and exporter have one version. The chart's `appVersion` is the tag that it pulls: leave
  `image.tag` empty, or a newer chart runs an older exporter.
- Prefer `--reset-then-reuse-values` to `--reuse-values`, which leaves out the defaults of values
  that a newer chart has added; some templates then fail.
- A key that the chart does not know is refused, so that a renamed value cannot be overlooked. The
  changelog names each renamed or removed value under *Changed*.
- Of the volume only the size can be changed in place, if its storage class allows that. For another
  storage class copy the state file, or start with new counters.
- To go back: `helm rollback`. The state file stays; an older exporter refuses a state file of a
  newer format with a message that says so, and leaves it untouched.
- `helm uninstall` leaves the volume claim, and with it the counters. A new release of the same name
  in the same namespace uses it again; any other one does with `persistence.existingClaim`.

## Values

"""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the chart, or a section of values, which has no default."""

    path: str
    default: str
    description: str


def shown(default: object) -> str:
    """A default value for the table."""
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see `values.yaml`"


def described(comment: list[str], after: str) -> str:
    """The description in the comment lines before a key, and in the one after it.

    What follows a line that ends with a colon is an example, which a table cannot show.
    """
    lines: list[str] = []
    for line in comment:
        lines.append(line)
        if line.endswith(":"):
            lines[-1] = f"{line[:-1]}; example in `values.yaml`"
            break
    if after:
        lines.append(f"({after})")
    return " ".join(lines).replace("|", "\\|")


def at(values: dict[str, Any], path: list[str]) -> Any:
    """The value at a path."""
    found: Any = values
    for key in path:
        found = found[key]
    return found


def documented(text: str) -> Iterator[Value]:
    """The values of a values.yaml in their order; sections only with a description."""
    values = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    hidden: int | None = None
    for line in text.splitlines():
        words = line.strip()
        depth = (len(line) - len(line.lstrip())) // 2
        if words.startswith("#"):
            comment.append(words.removeprefix("#").strip())
            continue
        key, colon, rest = words.partition(":")
        if not colon or key.startswith("- ") or (hidden is not None and depth > hidden):
            comment = []
            continue
        path = [*path[:depth], key]
        default = at(values, path)
        whole = not isinstance(default, dict) or not default or key.lower().endswith(WHOLE)
        hidden = depth if whole else None
        description = described(comment, rest.partition(" # ")[2].strip())
        if whole or description:
            yield Value(".".join(path), shown(default) if whole else "", description)
        comment = []


def page() -> str:
    """The README."""
    rows = [
        f"| `{each.path}` | {each.default} | {each.description} |\n"
        for each in documented((CHART / "values.yaml").read_text("utf-8"))
    ]
    return HEAD + "| value | default | |\n|---|---|---|\n" + "".join(rows)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
