"""The names of an integration's states, their appearance and the advice for them.

A series in Prometheus is a number. The numbers rise with the urgency, so that a sorted table and
the lanes of a timeline have the worst state at the top.
"""

from typing import NamedTuple

BLUE = "#0072B2"
LIGHT_BLUE = "#56B4E9"
YELLOW = "#F0E442"
VERMILION = "#D55E00"
SALMON = "#FFA07A"
GREY = "#999999"
"""People with any kind of colour blindness can distinguish any two colours of states."""

FAINT = "rgba(153, 153, 153, 0.15)"
"""For good or unknown states. It differs from the solid grey of an unknown status."""
NO_DATA = "no data"


class State(NamedTuple):
    """One state of an integration. `name` is Braze's status or the name that the alerts use."""

    name: str
    glyph: str
    colour: str
    alert: str
    """The alert whose runbook has the details."""
    act: str
    """The advice, short enough for a column."""

    @property
    def text(self) -> str:
        """The name after a glyph, because colour must never be the only difference."""
        return f"{self.glyph} {self.name.replace('_', ' ')}"


STATES = (
    State("success", "✔", BLUE, "", "-"),
    State("partial", "◐", YELLOW, "RowsFailing", "fix failed rows at their source"),
    State("unknown", "?", GREY, "UnknownStatus", "look in Braze; update exporter"),
    State("error", "✖", VERMILION, "SyncFailing", "read the run's error in Braze"),
    State("missed", "○", "#99DDFF", "ScheduledSyncMissed", "check whether it is paused"),
    State("stuck", "▶", "#785EF0", "SyncStuck", "find its query in the warehouse"),
    State("late", "◷", SALMON, "SyncLate", "check its last run in Braze"),
    State("config_error", "⚙", "#882255", "SyncConfigError", "test its connection in Braze"),
)
"""The least urgent first. The names of alerts start with `BrazeCDI`."""

NO_DATA_CODE, UNKNOWN_CODE = 0, -1
"""A moment without any sample, and an unknown value, which sorts below every other value."""
CODES = {state.name: code for code, state in enumerate(STATES, start=1)}
BY_NAME = {state.name: state for state in STATES}
RUNNING_CODE, IDLE_CODE = 20, 21

Looks = dict[int, tuple[str, str]]
"""The text and colour of each code."""

COLOURS: Looks = {CODES[state.name]: (state.text, state.colour) for state in STATES}
LANES: Looks = {NO_DATA_CODE: (NO_DATA, FAINT)} | COLOURS
TEXTS: Looks = COLOURS | {CODES["success"]: (BY_NAME["success"].text, FAINT)}
"""In a table or tile, only problems have a colour."""
RUN_LANES: Looks = LANES | {
    RUNNING_CODE: ("▶ running", LIGHT_BLUE),
    IDLE_CODE: ("not running", FAINT),
}
