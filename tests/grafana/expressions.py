"""Expressions of PromQL, to be looked into."""

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
"""What the names of a family's series end with, by its type."""


def inner(expr: Expr) -> list[Expr]:
    """The expressions that this one is made of."""
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
    """The expression and all within it."""
    yield expr
    for each in inner(expr):
        yield from walk(each)


def parsed(expr: str) -> Expr:
    """The expression as Prometheus reads it."""
    return promql_parser.parse(Chosen().filled(expr))


def selectors(expr: Expr) -> Iterator[VectorSelector]:
    """The series that are asked for."""
    return (each for each in walk(expr) if isinstance(each, VectorSelector))


def matchers(selector: VectorSelector) -> dict[str, str]:
    """Label → what it must be."""
    return {each.name: each.value for each in selector.matchers.matchers}


def labels_of(expr: Expr) -> set[str]:
    """The labels that the result of the expression has."""
    match expr:
        case AggregateExpr():
            return set(expr.modifier.labels) if expr.modifier else set()
        case BinaryExpr():
            return labels_of(expr.lhs) | labels_of(expr.rhs)
        case ParenExpr():
            return labels_of(expr.expr)
    return set()


def shown(expr: Expr) -> Iterator[VectorSelector]:
    """The series whose values or labels are shown; what only filters may be wider."""
    if isinstance(expr, VectorSelector):
        yield expr
    filters = isinstance(expr, BinaryExpr) and str(expr.op) in ("and", "unless")
    for each in inner(expr)[: 1 if filters else None]:
        yield from shown(each)


def unmerged(expr: Expr) -> Iterator[VectorSelector]:
    """The series that are not under a maximum or minimum: each instance has its own."""
    if isinstance(expr, AggregateExpr) and str(expr.op) in ("max", "min"):
        return
    if isinstance(expr, VectorSelector):
        yield expr
    for each in inner(expr):
        yield from unmerged(each)
