"""JSON lines: one document a line, read as a stream."""

import json
import math
from collections.abc import Iterator
from io import BufferedReader
from typing import NoReturn

from ingest.loaders.decoding import read_lines
from ingest.loaders.records import Record
from search_app.errors import SourceError


def jsonl_records(source: str, file: BufferedReader) -> Iterator[Record | SourceError]:
    """Read one object a line; empty lines are passed over."""
    lines = read_lines(source, file)
    for number, line in enumerate(lines, start=1):
        if isinstance(line, SourceError):
            yield line
        elif line.strip():
            yield _record(f"{source}#{number}", number, line, lines.encoding)


def _record(at: str, number: int, line: str, encoding: str) -> Record | SourceError:
    try:
        values = DECODER.decode(line)
    except json.JSONDecodeError as exc:
        return SourceError(at, f"not JSON: {exc.msg} at character {exc.pos + 1}")
    except ValueError as exc:
        return SourceError(at, f"not JSON: {exc}")
    except RecursionError:
        return SourceError(at, "nested too deeply")
    if not isinstance(values, dict):
        return SourceError(at, 'not a JSON object; every line must be one, like {"text": "…"}')
    return Record(line=number, values=values, encoding=encoding)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
"""Refuses the numbers that no catalog can hold, where Python's own reading would not."""
