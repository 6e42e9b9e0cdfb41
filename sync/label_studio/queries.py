"""Queries of Label Studio's Data Manager: tasks whose column fits a value, in id order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def where(column: str, operator: str, kind: str, *values: Any) -> dict[str, Any]:
    """Tasks whose column fits one of the values."""
    items = [{"filter": f"filter:{column}", "operator": operator, "type": kind, "value": value} for value in values]
    return {"filters": {"conjunction": "or", "items": items}, "ordering": ["tasks:id"]}


def both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks that fit both queries, each of one value."""
    items = [*one["filters"]["items"], *other["filters"]["items"]]
    return {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}


def pieces(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Some at a time: everything of a query stands in the address."""
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]
