"""A text that the provider refuses costs its own document and no other."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderRefusedError
from search_app.retrieval import SearchRequest
from search_app.types import Kind, Matrix
from tests.catalog_dump import connect


class Filtering(HashingEmbedder):
    """Refuses requests with a forbidden word in them, or with a wrong key every request."""

    def __init__(self) -> None:
        super().__init__("64")
        self.batch_size = 8
        self.key_is_good = True
        self.requests = 0

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        self.requests += 1
        if not self.key_is_good or any("forbidden" in text for text in texts):
            raise EmbedderRefusedError("the provider refuses: content filter")
        return await super().embed(texts, kind)


@pytest.fixture
def filtering(services: Services) -> Filtering:
    embedder = Filtering()
    services._embedders["hashing:64"] = embedder
    return embedder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    root.mkdir()
    for number in range(40):
        (root / f"{number:02}.md").write_text(f"# Paper {number}\n\nText number {number}.\n")
    return root


async def test_only_the_refused_document_fails(
    services: Services, filtering: Filtering, folder: Path
) -> None:
    (folder / "07.md").write_text("# Paper 7\n\nforbidden\n")
    (folder / "31.md").write_text("# Paper 31\n\nforbidden too\n")
    report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    assert (report.documents.added, report.documents.failed) == (38, 2)
    assert {Path(failure.source).name for failure in report.errors} == {"07.md", "31.md"}
    assert all("content filter" in failure.reason for failure in report.errors)
    result = await services.searcher.search(SearchRequest(query="Text number 30", k=50))
    assert len({hit.document.uri for hit in result.hits}) == 38
    assert filtering.requests < 100


async def test_what_was_there_before_stays_and_a_later_text_is_taken(
    services: Services, filtering: Filtering, folder: Path
) -> None:
    assert filtering.key_is_good
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    (folder / "07.md").write_text("# Paper 7\n\nforbidden\n")
    report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    assert (report.documents.unchanged, report.documents.failed) == (39, 1)
    result = await services.searcher.search(SearchRequest(query="Text number 7", k=1))
    assert "Text number 7" in result.hits[0].text
    (folder / "07.md").write_text("# Paper 7\n\nallowed now\n")
    report = await ingest(services, IngestRequest(arguments=[str(folder)]))
    assert (report.documents.updated, report.documents.failed) == (1, 0)


async def test_a_large_document_with_one_refused_passage_is_not_shown_in_part(
    services: Services, filtering: Filtering, tmp_path: Path
) -> None:
    assert filtering.key_is_good
    paragraphs = [f"## Part {number}\n\n" + f"word{number} " * 200 for number in range(700)]
    paragraphs[3] += "forbidden"
    (tmp_path / "book.md").write_text("\n\n".join(paragraphs))
    (tmp_path / "note.md").write_text("# Note\n\nA small note.\n")
    report = await ingest(
        services, IngestRequest(arguments=[str(tmp_path / "book.md"), str(tmp_path / "note.md")])
    )
    assert (report.documents.added, report.documents.failed) == (1, 1)
    result = await services.searcher.search(SearchRequest(query="word5", k=50))
    assert {Path(hit.document.uri).name for hit in result.hits} == {"note.md"}


async def test_a_wrong_key_still_ends_the_run(
    services: Services, filtering: Filtering, folder: Path
) -> None:
    await ingest(services, IngestRequest(arguments=[str(folder / "00.md")]))
    filtering.key_is_good = False
    with pytest.raises(EmbedderRefusedError):
        await ingest(services, IngestRequest(arguments=[str(folder)]))


async def test_nothing_is_left_of_what_was_refused(
    services: Services, filtering: Filtering, folder: Path, database_url: str
) -> None:
    assert filtering.key_is_good
    (folder / "07.md").write_text("# Paper 7\n\nforbidden\n")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM documents) AS documents, "
            "(SELECT count(*) FROM chunks) AS chunks, "
            "(SELECT count(*) FROM sources WHERE state = 'failed') AS failed"
        ).fetchone()
    assert row == {"documents": 39, "chunks": 39, "failed": 1}
