"""How each status of a run looks and what it means: one list for mappings, queries and text.

A status series in Prometheus is a number. The numbers rise with the trouble, so that `max`
over two instances, or over the integrations of a workspace, shows the worst.
"""

from dataclasses import dataclass

from cdi_exporter.model import FINISHED_STATUSES, Status
from cdi_exporter.wording import GLYPHS

BLUE = "#0072B2"
LIGHT_BLUE = "#56B4E9"
YELLOW = "#F0E442"
VERMILION = "#D55E00"
PURPLE = "#882255"
GREY = "#999999"
"""Told apart by people who see no red or no green; a glyph or a word always stands beside them."""


@dataclass(frozen=True)
class Look:
    """One status: how it looks, what it means."""

    colour: str
    means: str
    act: str
    """Whether a person must act."""


LOOKS = {
    Status.SUCCESS: Look(BLUE, "all rows of the run are in Braze", "nothing to do"),
    Status.RUNNING: Look(
        LIGHT_BLUE, "the run is under way", "only if it takes far longer than usual"
    ),
    Status.PARTIAL: Look(
        YELLOW,
        "some rows were refused, the rest is in Braze",
        "correct these rows at their source",
    ),
    Status.UNKNOWN: Look(
        GREY,
        "Braze calls the run by a name newer than the exporter",
        "look in Braze; update the exporter",
    ),
    Status.ERROR: Look(
        VERMILION, "the run failed; the next one tries again", "if it fails repeatedly"
    ),
    Status.CONFIG_ERROR: Look(
        PURPLE,
        "credentials, permissions or names are wrong",
        "yes: it never mends itself",
    ),
}
"""From no trouble to the worst."""

NO_DATA = "? no data"
NO_DATA_CODE = 0
IDLE, IDLE_CODE = "no run", -1
FAINT = "rgba(153, 153, 153, 0.15)"
CODES = {status: code for code, status in enumerate(LOOKS, start=NO_DATA_CODE + 1)}
FINISHED = tuple(status for status in LOOKS if status in FINISHED_STATUSES)

WORDS = {status: f"{GLYPHS[status]} {status.replace('_', ' ')}" for status in LOOKS}
"""As the status page writes them."""

TEXTS = {CODES[status]: (WORDS[status], look.colour) for status, look in LOOKS.items()}
TEXTS_OVER_TIME = {NO_DATA_CODE: (NO_DATA, GREY)} | TEXTS
TEXTS_AND_IDLE = {IDLE_CODE: (IDLE, FAINT)} | TEXTS_OVER_TIME
"""Codes as a text and a colour."""
