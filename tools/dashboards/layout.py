"""Where panels stand: sections with a question as their heading, rows of 24 columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import GridPos

from tools.dashboards.panels import Panel

COLUMNS = 24


@dataclass(frozen=True)
class Place:
    """A panel and its width in columns."""

    panel: Panel
    width: int


@dataclass(frozen=True)
class Line:
    """Panels side by side, of one height."""

    height: int
    places: Sequence[Place]


def line(height: int, *panels: Panel, widths: Sequence[int] = ()) -> Line:
    """Panels side by side; of equal width where none is given."""
    widths = widths or [COLUMNS // len(panels)] * len(panels)
    return Line(height, [Place(*each) for each in zip(panels, widths, strict=True)])


@dataclass(frozen=True)
class Section:
    """A heading and what answers it."""

    heading: str
    lines: Sequence[Line]
    collapsed: bool = False


def place(board: builders.Dashboard, sections: Sequence[Section]) -> None:
    """Put the sections on the dashboard, from top to bottom; IDs count from 1."""
    top, number = 0, 1
    for section in sections:
        row = builders.Row(section.heading).id(number).collapsed(section.collapsed)
        row.grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=top))
        placed = list(_placed(section, top + 1, number + 1))
        number += 1 + len(placed)
        if section.collapsed:
            for panel in placed:
                row.with_panel(panel)
        board.with_row(row)
        top += 1
        if not section.collapsed:
            for panel in placed:
                board.with_panel(panel)
            top += sum(each.height for each in section.lines)


def _placed(section: Section, top: int, number: int) -> Iterator[Panel]:
    for each in section.lines:
        left = 0
        for one in each.places:
            yield one.panel.id(number).grid_pos(GridPos(h=each.height, w=one.width, x=left, y=top))
            left += one.width
            number += 1
        top += each.height
