"""The date of a document: what it says of itself, never what the file system says."""

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.loaders.properties import dated
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest
from search_app.types import JSON


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"date": "2024-05-01"}, "2024-05-01"),
        ({"Date": " 2024-5-1 "}, "2024-05-01"),
        ({"DATE": "2024/05/01 10:30"}, "2024-05-01"),
        ({"date": "2024.05.01"}, "2024-05-01"),
        ({"date": "2024年5月1日(水)"}, "2024-05-01"),
        ({"date": "2024-05-01T23:59:59+09:00"}, "2024-05-01"),
        ({"published_at": "2024-05-01T00:00:00Z"}, "2024-05-01"),
        # What was said first counts, unless it cannot be read.
        ({"modified": "2025-01-01", "created": "2024-01-01"}, "2024-01-01"),
        ({"created": "2024-01-01", "date": "2023-01-01"}, "2023-01-01"),
        ({"date": "last spring", "created": "2024-02-30", "modified": "2025-01-02"}, "2025-01-02"),
        ({"date": ["unknown", "1999-12-31", "2000-01-01"]}, "1999-12-31"),
        ({}, ""),
        ({"date": None, "created": 20240501, "modified": {"on": "2024-05-01"}}, ""),
        ({"date": "2024"}, ""),
        ({"date": "2024-05"}, ""),
        ({"date": "20240501"}, ""),
        ({"date": "01/05/2024"}, ""),
        ({"date": "2024-05/01"}, ""),
        ({"date": "2024-05-011"}, ""),
        ({"date": "0000-01-01"}, ""),
        ({"date": "２０２４-05-01"}, ""),
        ({"year": "2024-05-01", "update": "2024-05-01"}, ""),
    ],
)
def test_a_date_is_read_or_left_out(meta: dict[str, JSON], expected: str) -> None:
    assert dated(meta) == expected


@given(st.dates(), st.sampled_from(["", "T10:00", " 10:00:00", "Z", " (approx.)"]))
def test_every_day_is_read_whatever_follows(day: date, rest: str) -> None:
    assert dated({"date": f"{day.isoformat()}{rest}"}) == day.isoformat()


async def test_dates_narrow_a_search_and_files_do_not_date_documents(
    services: Services, tmp_path: Path
) -> None:
    dates = {"old.md": "2023-12-31", "new.md": "2024-06-01", "none.md": ""}
    for name, day in dates.items():
        stated = f"---\ndate: {day}\n---\n" if day else ""
        (tmp_path / name).write_text(f"{stated}# Granite\n\nA note on granite in {name}.\n")
        os.utime(tmp_path / name, (1e9, 1e9))
    await ingest(services, IngestRequest(arguments=[str(tmp_path)]))

    async def found(*filters: str) -> set[str]:
        request = SearchRequest(query="granite", filters=filters)
        result = await services.searcher.search(request)
        return {Path(hit.document.uri).name for hit in result.hits}

    assert await found("date>=2024-01-01 and date<2025-01-01") == {"new.md"}
    assert await found("date=2024") == {"new.md"}
    assert await found("date<=2023") == {"old.md"}
    assert await found("date=2001") == set()
    assert await found("not date>=0001") == {"none.md"}
    for name in dates:
        os.utime(tmp_path / name, (2e9, 2e9))
    again = await ingest(services, IngestRequest(arguments=[str(tmp_path)]))
    assert (again.documents.updated, again.documents.unchanged) == (0, 3)
