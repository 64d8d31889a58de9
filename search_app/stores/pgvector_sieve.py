"""What points of a search have to pass: what its filter says of their fields, and of their ids."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Select, Table, Text, Uuid, all_, bindparam

from search_app.filters import Filter
from search_app.jsonb import filter_path, path_clause


@dataclass(frozen=True)
class Sieve:
    """Whether a statement tests fields, and whether ids; what for are its parameters."""

    fields: bool
    besides: bool


def sieve_of(condition: Filter | None) -> Sieve:
    """Say what has to be tested."""
    if condition is None:
        return Sieve(fields=False, besides=False)
    return Sieve(
        fields=bool(condition.conditions) or not condition.besides, besides=bool(condition.besides)
    )


def sieved(statement: Select[Any], table: Table, sieve: Sieve) -> Select[Any]:
    """Keep the points that pass."""
    if sieve.fields:
        statement = statement.where(path_clause(table.c.fields, bindparam("path", type_=Text)))
    if sieve.besides:
        besides = bindparam("besides", type_=ARRAY(Uuid))
        statement = statement.where(table.c.chunk_id != all_(besides))
    return statement


def sieved_for(condition: Filter | None) -> dict[str, Any]:
    """Give the parameters of what is tested."""
    sieve = sieve_of(condition)
    given: dict[str, Any] = {}
    if condition is not None and sieve.fields:
        given["path"] = filter_path(condition)
    if condition is not None and sieve.besides:
        given["besides"] = sorted(condition.besides)
    return given
