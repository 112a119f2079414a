"""What `check` has found, as values; the table and the JSON are made of these alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cdi_exporter.check.cost import Cost
from cdi_exporter.model import Integration, Run

LIST_PERMISSION = "cdi.integration_list"
HISTORY_PERMISSION = "cdi.integration_job_status"


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Something does not work: exit status 1."""
    WARNING = "warning"
    """It works, but probably not as it was meant."""
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth a sentence, and what to do about it."""

    level: Level
    code: str
    """A word that programs can compare; see `docs/check.schema.json`."""
    text: str
    advice: str = ""


class Granted(StrEnum):
    """Whether the key has a permission."""

    YES = "yes"
    LIKELY = "likely"
    """Braze refused the question for another reason than the permission."""
    NO = "no"
    UNKNOWN = "unknown"
    """It could not be asked."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One integration, as far as it was read."""

    id: str
    name: str
    watched: bool = True
    """Whether the configuration leaves it in."""
    item: Integration | None = None
    """What the list says of it."""
    last: Run | None = None
    """Its newest run, as its history has it, else as the list has it."""
    read: bool = False
    """Whether its history was read."""
    interval: float | None = None
    """Typical seconds from the start of a run to the start of the next."""
    problem: str | None = None
    """Why its history could not be read."""


@dataclass(frozen=True, slots=True)
class CheckedWorkspace:
    """One workspace: whether its key works, what it may read, and what it has."""

    name: str
    endpoint: str
    cluster: str | None = None
    """As Braze calls it, such as `US-03`; None for one that is not known here."""
    key_works: bool | None = None
    """None where Braze did not say."""
    permissions: tuple[tuple[str, Granted], ...] = (
        (LIST_PERMISSION, Granted.UNKNOWN),
        (HISTORY_PERMISSION, Granted.UNKNOWN),
    )
    integrations: tuple[Checked, ...] = ()
    complete: bool = False
    """Whether the whole list was read."""
    cost: Cost | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything works that the configuration needs."""
        return not any(finding.level is Level.ERROR for finding in self.findings)

    @property
    def watched(self) -> tuple[Checked, ...]:
        """The integrations that the exporter would show."""
        return tuple(each for each in self.integrations if each.watched)

    def may(self, permission: str) -> Granted:
        """Whether the key has the permission of this name."""
        return dict(self.permissions)[permission]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    checked_at: float
    """Unix seconds of this machine."""
    scrape_interval: float
    workspaces: Sequence[CheckedWorkspace]
    offline: bool = False

    @property
    def ok(self) -> bool:
        """Whether all workspaces work."""
        return all(workspace.ok for workspace in self.workspaces)
