"""A source that is read again without being told how is read as it was before."""

from pathlib import Path

from ingest.pipeline import IngestRequest, ingest, retry
from ingest.types import LoadOptions
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest

CHOSEN = LoadOptions(text_fields=("words",), meta_fields=("year",))


async def texts(services: Services) -> set[str]:
    result = await services.searcher.search(SearchRequest(query="tide", k=50))
    return {hit.text.strip() for hit in result.hits}


async def test_a_table_keeps_the_columns_it_was_read_with(
    services: Services, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,words,note,year\n1,the tide rises,secret,2020\n", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(table)], load=CHOSEN))
    again = await ingest(services, IngestRequest(arguments=[str(table)], as_before=True))
    assert (again.documents.unchanged, again.documents.updated) == (1, 0)
    table.write_text("id,words,note,year\n1,the tide falls,secret,2020\n", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(table)], as_before=True, force=True))
    assert await texts(services) == {"the tide falls"}
    # Said nothing, the command reads it as it reads any table.
    await ingest(services, IngestRequest(arguments=[str(table)]))
    assert "secret" in "".join(await texts(services))


async def test_a_raised_limit_and_a_password_count_at_once(
    services: Services, tmp_path: Path
) -> None:
    large = tmp_path / "large.txt"
    large.write_text("the tide turns\n" * 100_000, encoding="utf-8")
    small = LoadOptions(max_file_mb=1)
    (tmp_path / "small.txt").write_text("the tide\n", encoding="utf-8")
    both = [str(large), str(tmp_path / "small.txt")]
    report = await ingest(services, IngestRequest(arguments=both, load=small))
    assert report.documents.failed == 1
    kept = small.as_json()
    assert "max_file_mb" not in kept
    assert LoadOptions(passwords=("a",), max_file_mb=3).with_kept(CHOSEN.as_json()) == LoadOptions(
        text_fields=("words",), meta_fields=("year",), passwords=("a",), max_file_mb=3
    )
    report = await retry(services, collection="default", load=LoadOptions(max_file_mb=64))
    assert (report.documents.added, report.documents.failed) == (1, 0)
