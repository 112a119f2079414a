"""The Helm chart's copies of rules and dashboards: python -m tools.chart_files.

A chart cannot carry what lies outside its folder.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ROOT / "deploy" / "helm" / "cdi-exporter" / "files"


def copies() -> dict[Path, Path]:
    """Each file of the chart, and that of which it is a copy."""
    dashboards = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    return {
        FILES / "prometheusrule.yml": ROOT / "prometheus" / "kubernetes" / "prometheusrule.yml",
        **{FILES / "dashboards" / source.name: source for source in dashboards},
    }


def main() -> None:
    """Write the copies, and remove those of files that are no more."""
    wanted = copies()
    for path in FILES.rglob("*.*"):
        if path not in wanted:
            path.unlink()
    for path, source in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source.read_bytes())


if __name__ == "__main__":
    main()
