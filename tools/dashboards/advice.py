"""What a person does now."""

from tools.dashboards.board import Section, line
from tools.dashboards.panels import words
from tools.dashboards.states import NO_DATA, STATES

_MEANINGS = {
    "config_error": "credentials, permissions or names are wrong; no later run can succeed",
    "late": "no rows were delivered for longer than this integration's limit",
    "stuck": "a run takes more than 3 times as long as usual, and at least an hour",
    "missed": "a scheduled run has not started for 20 minutes or more",
    "error": "the last run failed; the next one tries again",
    "unknown": "Braze reported a status that the exporter does not know",
    "partial": "the last run delivered, but some rows failed",
    "success": "all rows of the last run are in Braze",
}
_MORE = f"""\
| {NO_DATA} | nothing is known of this moment | check the exporter | |

The runbooks are in the project's folder `docs/runbooks/`, one file per alert.

**In Braze:** *Data Settings → Cloud Data Ingestion*, then the integration by its name. Its *sync \
log* has the error of each run. The integration's ID is the last part of its address in Braze.

**No data** means that nothing is known, not that all is well. Is the exporter scraped? Can it \
read the workspace? Did it run in this time range?
"""


def advice() -> Section:
    """What each state means, what to do, and where to read on."""
    text = "| state | what it means | what to do | runbook |\n|---|---|---|---|\n"
    for state in reversed(STATES):
        runbook = state.alert and f"BrazeCDI{state.alert}"
        text += f"| {state.text} | {_MEANINGS[state.name]} | {state.act} | {runbook} |\n"
    panel = words("What each state means, and what to do", text + _MORE)
    return Section("What do I do?", [line(13, panel)])
