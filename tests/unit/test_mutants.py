"""The mutation tester: which mutants it makes, and which of them survive."""

from pathlib import Path

import pytest

from tools import mutants

SOURCE = """
def clamp(value: int | None, most: int = 3) -> int:
    if value is None or value > most:
        return most
    return max(value, 0)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "clamping.py"
    path.write_text(SOURCE)
    return path


def test_each_mutant_has_a_unique_name(module: Path) -> None:
    """Conditions, constants, returned values and names are changed. Annotations are not."""
    assert [each.name for each in mutants.mutants(module)] == [
        "clamp: 3 → 4",
        "clamp: if value is None or value > most: → if not (value is None or value > most):",
        "clamp: value is None or value > most → value is None and value > most",
        "clamp: value is None → value is not None",
        "clamp: value > most → value >= most",
        "clamp: return most → return None",
        "clamp: return max(value, 0) → return None",
        "clamp: max → min",
        "clamp: 0 → 1",
    ]


def test_the_code_of_a_mutant_has_only_its_own_change(module: Path) -> None:
    """Each mutant starts from the original module."""
    clamped = []
    for each in mutants.mutants(module):
        space: dict[str, object] = {}
        exec(each.code, space)
        clamped.append(space["clamp"](0))  # type: ignore[operator]
    assert clamped == [0, 3, 0, 3, 0, 0, None, 0, 1]


def test_a_change_that_no_test_notices_survives(module: Path) -> None:
    """The other mutants fail a test. The tests run in a separate process."""
    test = module.with_name("test_clamping.py")
    test.write_text(
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('clamping', {str(module)!r})\n"
        "clamping = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(clamping)\n"
        "def test_clamp():\n"
        "    values = [clamping.clamp(each) for each in (None, 9, 2, -1)]\n"
        "    assert values == [3, 3, 2, 0]\n"
    )
    alive = [*mutants.survivors(mutants.mutants(module), [str(test)])]
    assert [each.name for each in alive] == ["clamp: value > most → value >= most"]
    assert module.read_text() == SOURCE
