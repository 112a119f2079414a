"""The filter and order of the status page, as its query gives them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from cdi_exporter.model import Run, Status
from cdi_exporter.web.status import FILTERS, IntegrationStatus, shows

_GRAVITY = {
    Status.CONFIG_ERROR: 5,
    Status.ERROR: 4,
    Status.PARTIAL: 3,
    Status.UNKNOWN: 2,
    Status.SUCCESS: 1,
}
LONGEST_TEXT = 200
"""Characters of the search text that are compared: longer than any name or ID."""


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort; rows without a value are last in both directions."""

    label: str
    key: Callable[[IntegrationStatus], object]
    descending: bool = True
    """The order after the first click on the column's head."""


def _of_last(value: Callable[[Run], object]) -> Callable[[IntegrationStatus], object]:
    """A value of the newest finished run; None if there is no such run."""
    return lambda row: value(row.facts.last) if row.facts.last else None


ORDERS: Mapping[str, Order] = {
    "attention": Order("needs attention", lambda row: row.urgency),
    "name": Order("name", lambda row: row.facts.name.casefold(), descending=False),
    "status": Order("status", _of_last(lambda run: _GRAVITY.get(run.status, 0))),
    "last": Order("last run", lambda row: row.last_at),
    "rows": Order("rows", _of_last(lambda run: run.rows_synced)),
    "failed": Order("failed", _of_last(lambda run: run.failed_ratio)),
    "duration": Order("duration", _of_last(lambda run: run.duration)),
    "next": Order("next run", lambda row: row.facts.next_scheduled, descending=False),
    "age": Order("age of last delivery", lambda row: row.staleness),
}
DEFAULT_ORDER = "attention"


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter and an order; by default all integrations, the most urgent first."""

    workspace: str = ""
    text: str = ""
    """Text that the name or the ID must contain, in any case."""
    status: str = "all"
    sort: str = DEFAULT_ORDER
    descending: bool = True

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Choice":
        """Read the query's parameters; raises ValueError, in one line, for an invalid value."""
        sort = _one_of(query, "sort", tuple(ORDERS), DEFAULT_ORDER)
        usual = "desc" if ORDERS[sort].descending else "asc"
        return cls(
            workspace=query.get("workspace", ""),
            text=query.get("q", "").strip()[:LONGEST_TEXT],
            status=_one_of(query, "status", FILTERS, "all"),
            sort=sort,
            descending=_one_of(query, "order", ("asc", "desc"), usual) == "desc",
        )

    def apply(self, integrations: Iterable[IntegrationStatus]) -> list[IntegrationStatus]:
        """The integrations that the filter shows, in order; equal ones are sorted by name."""
        wanted = self.text.casefold()
        found = [
            each
            for each in integrations
            if shows(self.status, each)
            and any(wanted in text.casefold() for text in (each.facts.name, each.facts.id))
        ]
        key = ORDERS[self.sort].key
        found.sort(key=lambda row: (row.facts.name.casefold(), row.facts.id))
        known = [row for row in found if key(row) is not None]
        known.sort(key=key, reverse=self.descending)  # type: ignore[arg-type] # one type a key
        return known + [row for row in found if key(row) is None]

    def by(self, sort: str) -> "Choice":
        """The choice after a click on the head of a column."""
        if sort == self.sort:
            return replace(self, descending=not self.descending)
        return replace(self, sort=sort, descending=ORDERS[sort].descending)

    def only(self, status: str) -> "Choice":
        """The same choice with another status filter."""
        return replace(self, status=status)

    @property
    def query(self) -> str:
        """A relative URL with the shortest query for this choice."""
        usual = ORDERS[self.sort].descending
        parts = {
            "workspace": self.workspace,
            "q": self.text,
            "status": "" if self.status == "all" else self.status,
            "sort": "" if self.sort == DEFAULT_ORDER else self.sort,
            "order": "" if self.descending == usual else ("desc" if self.descending else "asc"),
        }
        given = {name: part for name, part in parts.items() if part}
        return "?" + urlencode(given, errors="replace")


def _one_of(query: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    value = query.get(name) or default
    if value not in known:
        message = f"the parameter {name} must be one of: {', '.join(known)}"
        raise ValueError(message)
    return value
