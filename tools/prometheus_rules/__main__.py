"""`python -m tools.prometheus_rules` writes the rule files and the page of all alerts."""

from tools.prometheus_rules.pages import write

if __name__ == "__main__":
    write()
