"""Architecture rules: which module may import which, and how much state an object may have."""

import ast
from collections import Counter
from pathlib import Path

import pytest

import cdi_exporter

ROOT = Path(cdi_exporter.__file__).parent

LEVELS = {
    "__init__": 0,
    "allocator": 0,
    "catalog": 0,
    "change_signal": 0,
    "clock": 0,
    "errors": 0,
    "model": 0,
    "problems": 0,
    "signals": 0,
    "threads": 0,
    "files": 1,
    "pem": 1,
    "snapshot": 1,
    "typed_json": 1,
    "wording": 1,
    "ledger": 1,
    "braze": 1,
    "braze.wire": 1,
    "simulator": 1,
    "config": 2,
    "braze.answers": 2,
    "braze.budget": 2,
    "braze.trust": 2,
    "braze.stats": 3,
    "braze.sharing": 4,
    "braze.proxies": 3,
    "state": 5,
    "exposition": 3,
    "braze.client": 5,
    "workspace": 15,
    "workspace.list_view": 6,
    "workspace.record": 7,
    "workspace.publication": 8,
    "workspace.integration": 9,
    "workspace.inventory": 10,
    "workspace.leader_status": 10,
    "workspace.schedule": 10,
    "workspace.api": 10,
    "workspace.defects": 10,
    "workspace.history_access": 10,
    "workspace.read_queue": 11,
    "workspace.publisher": 11,
    "workspace.history_reader": 12,
    "workspace.list_reader": 13,
    "workspace.refresher": 14,
    "clients": 15,
    "web": 16,
    "logs": 16,
    "notify": 16,
    "app": 17,
    "backfill": 18,
    "check": 18,
    "demo": 18,
    "one_refresh": 18,
    "cli": 19,
    "__main__": 20,
}
"""The level of each module or package. Modules of one package may import each other."""

MOST_MUTABLE_FIELDS = 13
"""An object with more mutable fields is hard to reason about."""


def place(module: str) -> str:
    """The entry of `LEVELS` for a module: the longest prefix that has a level."""
    parts = module.split(".")[1:] or ["__init__"]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in LEVELS:
            return name
    raise AssertionError(f"{module} has no level")


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
def test_a_module_imports_only_from_lower_levels(path: Path) -> None:
    """A module may also import from its own package."""
    own = place(name_of(path))
    for imported in imports(path):
        if imported in ("cdi_exporter", "cdi_exporter.__version__"):
            continue
        target = place(imported)
        assert target == own or LEVELS[target] < LEVELS[own], f"{path.name} imports {imported}"


def test_the_ledger_imports_only_the_model() -> None:
    """The ledger counts runs, whatever their source is."""
    found = {place(name) for path in modules() if "ledger" in path.parts for name in imports(path)}
    assert found - {"__init__"} <= {"ledger", "model"}


def classes() -> list[tuple[str, ast.ClassDef]]:
    """Each class of the package, with the name of its module."""
    return [
        (name_of(path), node)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]


def test_no_two_classes_share_a_name() -> None:
    """A class name must have one meaning in the whole package."""
    counts = Counter(node.name for _, node in classes())
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_two_modules_share_a_name() -> None:
    """This holds across packages.

    The files in `cli` are exempt, as they are named after commands.
    """
    names = [path.stem for path in modules() if path.parent.name != "cli"]
    counts = Counter(name for name in names if name != "__init__")
    assert [name for name, count in counts.items() if count > 1] == []


def mutable_fields(node: ast.ClassDef) -> set[str]:
    """The attributes that methods assign, and those that `__init__` sets to a container."""
    found = set()
    for method in node.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= _assigned(method) if method.name != "__init__" else _filled(method)
    return found


def _assigned(method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The attributes of `self` that a method assigns."""
    return {
        each.attr
        for each in ast.walk(method)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }


def _filled(method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The attributes that `__init__` sets to a mutable container."""
    return {
        each.target.attr
        for each in ast.walk(method)
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Attribute)
        and isinstance(each.value, ast.Dict | ast.List | ast.Call)
    }


def test_no_object_has_many_mutable_fields() -> None:
    """The number of possible states multiplies with each mutable field."""
    several = {
        f"{module}.{node.name}": sorted(fields)
        for module, node in classes()
        if len(fields := mutable_fields(node)) > MOST_MUTABLE_FIELDS
    }
    assert several == {}


def importers_of(library: str) -> set[str]:
    """The modules that import a library or a name from it."""
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
    """Only this module accesses the network. The demo uses httpx to reach its simulator."""
    assert importers_of("httpx") == {"cdi_exporter.braze.client", "cdi_exporter.demo"}
    assert importers_of("httpcore") == set()


def test_only_the_clock_reads_the_wall_clock() -> None:
    """Everything else is given a clock, so that tests can simulate days in seconds."""
    readers = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            what = f"{node.value.id}.{node.attr}"
            if what in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow"):
                readers.add(name_of(path))
    assert readers == {"cdi_exporter.clock"}
