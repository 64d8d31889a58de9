"""The one place that translates what SQLAlchemy and psycopg raise into errors of a store."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc
from psycopg import errors

from search_app.errors import StoreError, StoreRefusedError, StoreUnavailableError

_COLLIDED = (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure)
# Operational by DB-API's book, but answers of a server that is there.
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.ConfigurationLimitExceeded)
_ABSENT = (errors.UndefinedTable, errors.InvalidSchemaName)
_NO_EXTENSION = (errors.UndefinedObject, errors.UndefinedFunction, errors.UndefinedFile)
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)


class CollisionError(StoreUnavailableError):
    """Another transaction wrote the same points at the same time; trying again is right."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the driver's exceptions into StoreError.

    Raises:
        StoreUnavailableError: the server cannot be reached, went away, or did not answer in time.
        StoreRefusedError: it answered no; says why in one line.
    """
    try:
        yield
    except sqlalchemy.exc.TimeoutError as exc:
        raise StoreUnavailableError(
            "pgvector: no database connection was free; too many requests at once, try again"
        ) from exc
    except sqlalchemy.exc.SQLAlchemyError as exc:
        cause = getattr(exc, "orig", None)
        raise translated(cause if isinstance(cause, Exception) else exc) from exc
    except psycopg.Error as exc:
        raise translated(exc) from exc


def translated(error: Exception) -> StoreError:
    """Choose the error of ours for one of the driver's."""
    reason = _reason(error)
    match error:
        case _ if isinstance(error, _COLLIDED):
            return CollisionError(f"pgvector: writers of the same points collided: {reason}")
        case _ if isinstance(error, _FULL):
            return StoreRefusedError(
                f"pgvector: the server is out of room: {reason}; make some, then start again: "
                "what is in stays in"
            )
        case _ if isinstance(error, _GONE):
            return StoreUnavailableError(f"pgvector: the database cannot be reached: {reason}")
        case _ if isinstance(error, _ABSENT):
            return StoreRefusedError(f"pgvector: no such index, create it first: {reason}")
        case _ if isinstance(error, _NO_EXTENSION):
            return StoreRefusedError(
                f"pgvector: the extension `vector` 0.8 or newer is missing: {reason}"
            )
    return StoreRefusedError(f"pgvector: the database refused: {reason}")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
