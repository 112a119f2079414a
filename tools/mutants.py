"""Mutation tests of the pure modules: make one change, and check that a test fails.

    python -m tools.mutants [--only ledger] [--sample 100]

Each mutant runs in a forked process that imports the changed module instead of the file, so the
working tree is never changed. A mutant that passes all tests survives, and then the exit status
is 1. Mutants that no test can detect are listed with the reason in `equivalent_mutants.toml`.
"""

import argparse
import ast
import copy
import os
import random
import signal
import sys
import tomllib
from collections.abc import Container, Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import hypothesis.strategies  # noqa: F401 -- modules that are slow to import are imported once
import pydantic  # noqa: F401
import pytest

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
BRAZE, WORKSPACE = "tests/unit/braze/test_", "tests/unit/workspace/test_"
LIMITS = "tests/unit/test_limits.py"
TARGETS = {
    "cdi_exporter/ledger/*.py": ["tests/unit/ledger/test_*.py", LIMITS],
    "cdi_exporter/braze/wire.py": [f"{BRAZE}wire_*.py", LIMITS],
    "cdi_exporter/braze/budget.py": [
        *(f"{BRAZE}budget*.py", f"{BRAZE}rate_limit*.py", f"{BRAZE}shared_budget.py"),
        LIMITS,
    ],
    "cdi_exporter/workspace/publication.py": [f"{WORKSPACE}publication.py"],
    "cdi_exporter/workspace/schedule.py": [f"{WORKSPACE}schedule.py", f"{WORKSPACE}read_order.py"],
}
"""The modules, and the tests that must detect a change in them."""

AT_ONCE = 2
"""The number of mutants tested at the same time: CI has two cores."""

LONGEST = 180
"""Seconds after which a mutant counts as detected, because it hangs. All tests take about 20 s."""

FLAGS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=steady"]
FLAGS += ["--timeout=0"]  # pytest-timeout would replace the alarm, and asyncio hide its exception
FLAGS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of Hypothesis, which is imported

PAIRS: list[tuple[Any, Any]] = [
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)),
]
SWAPS = dict(PAIRS) | {other: one for one, other in PAIRS}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
NOT_RUN = {"annotation", "returns", "decorator_list"}


class Mutant(NamedTuple):
    """A module with one change."""

    path: Path
    name: str
    """The function and the change."""
    code: CodeType


def nodes(tree: ast.AST, where: str = "") -> Iterator[tuple[ast.AST, str]]:
    """The nodes that can be changed, each with its function."""
    for field, value in ast.iter_fields(tree):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in NOT_RUN:
                inside = f"{where}.{getattr(child, 'name', '')}".strip(".")
                yield child, inside
                yield from nodes(child, inside)


def changed(node: Any) -> Any:
    """A replacement of an expression or statement, or None if it is not changed."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            node.ops = [SWAPS[type(op)]()]
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in SWAPS:
            node.op = SWAPS[type(op)]()
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.Constant(value=bool() | int() | float() as value):
            return ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Name(id=name) if name in NAMES:
            node.id = NAMES[name]
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if not isinstance(
            test,
            ast.Compare | ast.UnaryOp,  # which are changed themselves
        ):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            node.value = ast.Constant(None)
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            return ast.Pass()
        case _:
            return None
    return node


def mutants(path: Path) -> Iterator[Mutant]:
    """All changes of a module, with unique names."""
    tree = ast.parse(path.read_text("utf-8"))
    seen: dict[str, int] = {}
    for node, where in nodes(tree):
        other = changed(copy.deepcopy(node))
        if other is None:
            continue
        before, after = (ast.unparse(each).split("\n")[0] for each in (node, other))
        name = f"{where}: {before} → {after}"
        seen[name] = seen.get(name, 0) + 1
        kept = node.__class__, node.__dict__
        node.__class__, node.__dict__ = other.__class__, other.__dict__
        code = compile(ast.fix_missing_locations(tree), str(path), "exec")
        node.__class__, node.__dict__ = kept
        yield Mutant(path, name + f" ({seen[name]})" * (seen[name] > 1), code)


def start(mutant: Mutant, tests: Sequence[str]) -> int:
    """Run the tests with a mutant in a separate process. Returns the process ID."""
    if child := os.fork():
        return child
    signal.alarm(LONGEST)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return mutant.code if loader.path == str(mutant.path) else read(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]
    os._exit(pytest.main([*FLAGS, *tests]))


def survivors(several: Iterable[Mutant], tests: Sequence[str]) -> Iterator[Mutant]:
    """The mutants that pass all tests."""
    waiting, running = [*several], dict[int, Mutant]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            mutant = waiting.pop()
            running[start(mutant, tests)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            yield mutant


def judge(path: Path, tests: Sequence[str], reasons: Container[str], sample: int) -> int:
    """Print the survivors of a module. Returns their number."""
    module = path.relative_to(ROOT).as_posix()
    several = [each for each in mutants(path) if each.name not in reasons]
    drawn = random.sample(several, min(sample, len(several)))
    unchanged = Mutant(path, "nothing", compile(path.read_text("utf-8"), str(path), "exec"))
    if not [*survivors([unchanged], tests)]:
        sys.exit(f"the tests fail without a change: {' '.join(tests)}")
    alive = 0
    for mutant in survivors(drawn, tests):
        print(f"{module}: {mutant.name}", flush=True)
        alive += 1
    print(f"{module}: {alive} of {len(drawn)} survive", flush=True)
    return alive


def main() -> int:
    """Test the mutants of each module; 1 if one survives, or if a listed one does not exist."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("--sample", type=int, default=10**6, help="so many mutants of each module")
    wanted = parser.parse_args()
    equivalent = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    failed = 0
    for pattern, globs in TARGETS.items():
        tests = [str(path) for each in globs for path in sorted(ROOT.glob(each))]
        paths, reasons = sorted(ROOT.glob(pattern)), equivalent.get(pattern, {})
        if missing := [each for each in (pattern, *globs) if not [*ROOT.glob(each)]]:
            sys.exit(f"TARGETS names files that do not exist: {', '.join(missing)}")
        for name in reasons.keys() - {each.name for path in paths for each in mutants(path)}:
            print(f"{EQUIVALENT.name} lists a mutant that {pattern} does not have: {name}")
            failed += 1
        chosen = [path for path in paths if wanted.only in str(path)]
        failed += sum(judge(path, tests, reasons, wanted.sample) for path in chosen)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
