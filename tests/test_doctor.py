"""The doctor finds what is planted, changes nothing, and says what to do."""

from pathlib import Path

import numpy as np
from pydantic import SecretStr
from sqlalchemy import update

from ingest.doctor import Finding, Health, examine
from ingest.pipeline import IngestRequest, ingest
from search_app.bootstrap import Services
from search_app.catalog import migrate
from search_app.catalog.engine import transaction
from search_app.catalog.tables import canary_vectors
from search_app.config import Settings


async def found(settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding async for finding in examine(settings)}


async def with_a_document(services: Services, folder: Path) -> None:
    (folder / "a.md").write_text("# Tides\n\nThe moon pulls the sea.\n", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(folder / "a.md")], collection="notes"))


async def test_a_healthy_installation_is_good_all_over(services: Services, tmp_path: Path) -> None:
    await with_a_document(services, tmp_path)
    findings = await found(services.settings)
    assert {"program", "disk", "memory", "database", "schema", "store", "model"} <= set(findings)
    assert findings["database"].health is Health.GOOD
    assert "PostgreSQL 18" in findings["database"].found
    assert findings["schema"].health is Health.GOOD
    assert findings["model"].health is Health.GOOD
    assert "made notes" in findings["model"].found


async def test_it_makes_no_database_where_there_is_none(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "empty", embedder="hashing:64", database_url=None)
    findings = await found(settings)
    assert findings["database"].health is Health.NOTE
    assert "UNMOVED_DATA_DIR" in findings["database"].advice
    assert findings["model"].health is Health.GOOD
    assert not (tmp_path / "empty").exists()


async def test_an_unknown_embedder_and_a_database_that_is_down_are_told(
    settings: Settings, tmp_path: Path
) -> None:
    nowhere = settings.model_copy(
        update={"database_url": SecretStr("postgresql://localhost:1/none")}
    )
    findings = await found(nowhere)
    assert findings["database"].health is Health.BAD
    assert "DATABASE_URL" in findings["database"].advice
    unknown = Settings(data_dir=tmp_path / "empty", embedder="nope", database_url=None)
    assert (await found(unknown))["model"].health is Health.BAD


async def test_a_schema_that_is_behind_is_told_and_left_alone(settings: Settings) -> None:
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    migrate.move(url, "0001")
    findings = await found(settings)
    assert findings["schema"].health is Health.BAD
    assert findings["schema"].advice == "run: search-app migrate"
    assert "store" not in findings
    assert migrate.current(url) == "0001"


async def test_another_model_behind_the_name_is_told(services: Services, tmp_path: Path) -> None:
    await with_a_document(services, tmp_path)
    other = np.zeros(64, dtype="<f4")
    other[0] = 1.0
    async with transaction(services.engine) as connection:
        await connection.execute(update(canary_vectors).values(vector=other.tobytes()))
    model = (await found(services.settings))["model"]
    assert model.health is Health.BAD
    assert "is not the model that made notes" in model.found


async def test_a_store_that_cannot_be_reached_is_told(settings: Settings) -> None:
    away = settings.model_copy(
        update={"store": "qdrant", "qdrant_url": "http://127.0.0.1:9", "qdrant_timeout": 2}
    )
    assert (await found(away))["store"].health is Health.BAD
