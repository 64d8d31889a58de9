"""Settings: where they come from, what is refused, and that secrets stay secret."""

from pathlib import Path

import pytest

from search_app.config import Settings, describe_settings, load_settings
from search_app.errors import ConfigurationError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from an environment and a folder that set nothing."""
    import os

    for name in list(os.environ):
        if name.startswith("UNMOVED_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def origins() -> dict[str, tuple[str, str]]:
    return {row.variable: (row.value, row.origin) for row in describe_settings(load_settings())}


def test_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("UNMOVED_PORT=1111\nUNMOVED_COLLECTION=notes\n", encoding="utf-8")
    monkeypatch.setenv("UNMOVED_PORT", "2222")
    assert load_settings().port == 2222
    assert load_settings(port=3333).port == 3333
    found = origins()
    assert found["UNMOVED_PORT"] == ("2222", "environment")
    assert found["UNMOVED_COLLECTION"] == ("notes", ".env")
    assert found["UNMOVED_EMBEDDER"] == ("bundled", "default")


def test_secrets_are_masked_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@host/name")
    monkeypatch.setenv("UNMOVED_OPENAI_API_KEY", "sk-hunter2")
    monkeypatch.setenv("UNMOVED_SECRET_KEY", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(describe_settings(settings))
    assert origins()["DATABASE_URL"] == ("********", "environment")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("UNMOVED_PORT", "seventy", "UNMOVED_PORT"),
        ("UNMOVED_PORT", "70000", "UNMOVED_PORT"),
        ("UNMOVED_STORE", "paper", "UNMOVED_STORE"),
        ("UNMOVED_CHUNK_TOKENS", "5", "UNMOVED_CHUNK_TOKENS"),
        ("DATABASE_URL", "mysql://secret@host/x", "DATABASE_URL"),
    ],
)
def test_a_bad_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_database_url_means_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load_settings().database_url is None


def test_the_data_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNMOVED_DATA_DIR", "somewhere")
    assert load_settings().data_dir == tmp_path / "somewhere"


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in Settings.model_fields.values())
