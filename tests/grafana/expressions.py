"""Functions that parse and inspect PromQL expressions."""

from collections.abc import Iterator

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from tests.grafana.grafana import Chosen

PARTS = {"summary": ("sum", "count"), "histogram": ("sum", "count", "bucket")}
"""The suffixes of a family's series names, by type."""


def inner(expr: Expr) -> list[Expr]:
    """The direct subexpressions."""
    match expr:
        case AggregateExpr():
            return [expr.expr, *([expr.param] if expr.param else [])]
        case BinaryExpr():
            return [expr.lhs, expr.rhs]
        case Call():
            return list(expr.args)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return [expr.expr]
        case MatrixSelector():
            return [expr.vector_selector]
    return []


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all its subexpressions."""
    yield expr
    for each in inner(expr):
        yield from walk(each)


def parsed(expr: str) -> Expr:
    """The expression, parsed like in Prometheus."""
    return promql_parser.parse(Chosen().filled(expr))


def selectors(expr: Expr) -> Iterator[VectorSelector]:
    """The selectors of the expression."""
    return (each for each in walk(expr) if isinstance(each, VectorSelector))


def matchers(selector: VectorSelector) -> dict[str, str]:
    """The label values that the selector's matchers require, by label."""
    return {each.name: each.value for each in selector.matchers.matchers}


def labels_of(expr: Expr) -> set[str]:
    """The labels of the expression's result."""
    match expr:
        case AggregateExpr():
            return set(expr.modifier.labels) if expr.modifier else set()
        case BinaryExpr():
            return labels_of(expr.lhs) | labels_of(expr.rhs)
        case ParenExpr():
            return labels_of(expr.expr)
    return set()


def shown(expr: Expr) -> Iterator[VectorSelector]:
    """The selectors whose values or labels are shown, without those that only filter."""
    if isinstance(expr, VectorSelector):
        yield expr
    filters = isinstance(expr, BinaryExpr) and str(expr.op) in ("and", "unless")
    for each in inner(expr)[: 1 if filters else None]:
        yield from shown(each)


def unmerged(expr: Expr) -> Iterator[VectorSelector]:
    """The selectors outside any max or min: they give one series per instance."""
    if isinstance(expr, AggregateExpr) and str(expr.op) in ("max", "min"):
        return
    if isinstance(expr, VectorSelector):
        yield expr
    for each in inner(expr):
        yield from unmerged(each)
