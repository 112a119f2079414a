"""Where panels stand: sections with a question as their heading, rows of 24 columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import GridPos

from tools.dashboards.panels import Panel

COLUMNS = 24


@dataclass(frozen=True)
class Stack:
    """Panels of one height, one above the other."""

    panels: Sequence[Panel]
    width: int


@dataclass(frozen=True)
class Line:
    """Stacks side by side, of one height."""

    height: int
    stacks: Sequence[Stack]


def line(height: int, *panels: Panel | tuple[Panel, ...], widths: Sequence[int] = ()) -> Line:
    """Panels side by side, or several above each other in one place; equally wide by default."""
    widths = widths or [COLUMNS // len(panels)] * len(panels)
    stacks = [each if isinstance(each, tuple) else (each,) for each in panels]
    return Line(height, [Stack(*each) for each in zip(stacks, widths, strict=True)])


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
        for stack in each.stacks:
            height = each.height // len(stack.panels)
            for above, panel in enumerate(stack.panels):
                place = GridPos(h=height, w=stack.width, x=left, y=top + above * height)
                yield panel.id(number).grid_pos(place)
                number += 1
            left += stack.width
        top += each.height
