"""Question 10: what a person does now."""

from tools.dashboards.layout import Section, line
from tools.dashboards.panels import About, words
from tools.dashboards.rules import RUNBOOK_URL, alerts
from tools.dashboards.statuses import LOOKS, NO_DATA, WORDS

_FIND = """\
### In Braze

**Data Settings → Cloud Data Ingestion**, then the integration by its name; the *ID* on its own
dashboard is the last part of its address in Braze. *Sync log* has the error of each run.

### No data?

Grey and *no data* mean that nothing is known, not that all is well. Look at the first row: is the
exporter scraped, can it read the workspace? Did you choose a time range before it ran?
"""


def advice() -> Section:
    """What each status means and who acts; runbooks; where to look in Braze."""
    about = About(
        "What each status means, whether a person must act, and where to read on.",
        "none, it is text.",
        "what is not written here.",
        "open the runbook of the alert that fired.",
    )
    return Section(
        "What do I do?",
        [
            line(
                16,
                words("What a status means", about, _statuses()),
                words("Runbooks", about, _runbooks()),
                words("Where to look", about, _FIND),
                widths=(10, 7, 7),
            )
        ],
    )


def _statuses() -> str:
    rows = [f"| {WORDS[each]} | {look.means} | {look.act} |" for each, look in LOOKS.items()]
    none = f"| {NO_DATA} | nothing is known of this moment | see whether the exporter runs |"
    return "\n".join(["| status | means | must I act? |", "|---|---|---|", *rows, none, ""])


def _runbooks() -> str:
    lines = [
        f"- [{name}]({RUNBOOK_URL}/BrazeCDI{name}.md), {severity}"
        for name, severity in alerts()
        if severity != "info"
    ]
    return "\n".join([*lines, ""])
