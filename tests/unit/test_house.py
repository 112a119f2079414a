"""The levels of the house: a module imports only from levels below its own."""

import ast
from pathlib import Path

import pytest

import cdi_exporter

ROOT = Path(cdi_exporter.__file__).parent

LEVELS = {
    "__init__": 0,
    "model": 0,
    "catalog": 0,
    "errors": 0,
    "allocator": 0,
    "clock": 0,
    "pulse": 0,
    "threads": 0,
    "signals": 0,
    "files": 1,
    "pem": 1,
    "snapshot": 1,
    "ledger": 2,
    "braze": 1,
    "braze.wire": 1,
    "config": 2,
    "braze.answers": 2,
    "braze.budget": 2,
    "braze.trust": 2,
    "braze.traffic": 3,
    "braze.shared": 3,
    "braze.proxies": 3,
    "braze.turn": 4,
    "braze.client": 5,
    "state": 4,
    "exposition": 4,
    "workspace": 6,
    "clients": 6,
    "web": 7,
    "logs": 7,
    "notify": 7,
    "app": 8,
    "simulator": 1,
    "demo": 9,
    "backfill": 9,
    "check": 9,
    "cli": 10,
    "__main__": 11,
}
"""The level of each module or room; a room's modules stand beside each other."""


def place(module: str) -> str:
    """The room of a module, by the longest name that has a level."""
    parts = module.split(".")[1:] or ["__init__"]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in LEVELS:
            return name
    raise AssertionError(f"{module} has no level: give it a room")


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "cdi_exporter"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_imports_only_from_below(path: Path) -> None:
    """An import points down, or stays in the same room."""
    room = place(name_of(path))
    for imported in imports(path):
        if imported in ("cdi_exporter", "cdi_exporter.__version__"):
            continue
        target = place(imported)
        assert target == room or LEVELS[target] < LEVELS[room], f"{path.name} imports {imported}"


def importers_of(library: str) -> set[str]:
    """The modules that import a library, as a whole or names of it."""
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.append(node.module)
            if any(name.split(".")[0] == library for name in names):
                found.add(name_of(path))
    return found


def test_only_the_client_imports_httpx() -> None:
    """The network has one door; the demo opens another one, to the simulator."""
    assert importers_of("httpx") == {"cdi_exporter.braze.client", "cdi_exporter.demo"}
    assert importers_of("httpcore") == set()


def test_only_the_clock_reads_the_wall_clock() -> None:
    """So that tests can run days in seconds: everything else is given a clock."""
    readers = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            what = f"{node.value.id}.{node.attr}"
            if what in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow"):
                readers.add(name_of(path))
    assert readers == {"cdi_exporter.clock"}
