"""`python -m tools.dashboards` writes the JSON of the Grafana dashboards."""

from tools.dashboards.files import write

if __name__ == "__main__":
    write()
