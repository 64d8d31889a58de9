"""From a file to a hit: headings, pages and metadata of every kind of document are searchable."""

from pathlib import Path

import pytest

from ingest.loaders import LoadOptions
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.retrieval import SearchRequest
from tests.catalog_dump import connect
from tests.office_files import docx, paragraph, placeholder, pptx, rows, table, xlsx
from tests.test_loaders import FILES, needs_files


async def test_documents_of_an_office_are_found_with_headings_pages_and_authors(
    services: Services, tmp_path: Path
) -> None:
    heading = paragraph("休暇の規程", '<w:outlineLvl w:val="0"/>')
    cells = table([paragraph("区分"), paragraph("日数")], [paragraph("夏季"), paragraph("五日")])
    core = "<dc:creator>佐藤</dc:creator>"
    (tmp_path / "a.docx").write_bytes(docx(heading + cells, core=core))
    slides = [placeholder("title", f"Slide {n}") + placeholder("body", "x " * 300) for n in (1, 2)]
    third = placeholder("title", "Harbour") + placeholder("body", "granite barges " * 60)
    (tmp_path / "b.pptx").write_bytes(pptx([*slides, third]))
    (tmp_path / "c.xlsx").write_bytes(xlsx({"Quarry": rows(["stone", "tons"], ["basalt", 7])}))
    report = await ingest(services, IngestRequest(arguments=[str(tmp_path)]))
    assert not report.errors
    assert report.documents.added == 3

    async def first(query: str, *filters: str) -> tuple[str, tuple[str, ...], int | None]:
        found = await services.searcher.search(SearchRequest(query=query, filters=filters))
        hit = found.hits[0]
        return hit.document.media_type, tuple(hit.heading_path), hit.page

    assert await first("夏季 五日", "meta.author=佐藤") == ("docx", ("休暇の規程",), None)
    assert await first("granite barges", "type=pptx") == ("pptx", ("Harbour",), 3)
    assert await first("basalt tons", "meta.sheets=Quarry") == ("xlsx", ("Quarry",), None)


@needs_files
async def test_a_password_opens_a_file_and_is_kept_nowhere(services: Services) -> None:
    path = FILES / "pdfminer/encryption/aes-256.pdf"
    if not path.is_file():
        pytest.skip("needs the sample aes-256.pdf")
    secret = "open-sesame-4711"
    load = LoadOptions(passwords=(secret, "foo"))
    report = await ingest(services, IngestRequest(arguments=[str(path)], load=load))
    assert report.documents.added == 1
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for entry in tables:
            name = f'"{entry["table_schema"]}"."{entry["table_name"]}"'
            query = f"SELECT count(*) AS n FROM {name} AS t WHERE t::text LIKE %s"
            (found,) = connection.execute(query, [f"%{secret}%"]).fetchall()
            assert found["n"] == 0, name
