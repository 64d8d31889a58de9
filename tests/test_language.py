import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.language import detect

DATA = Path(__file__).parent.parent.parent / "shared/data"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "und"),
        ("123 — 45 😀", "und"),
        ("install", "en"),
        ("Hello world", "en"),
        ("README", "en"),
        ("東京都", "ja"),
        ("日本国憲法", "ja"),
        ("カタカナ", "ja"),
        ("ｶﾀｶﾅ", "ja"),
        ("Sony Music Recordsの読みは？", "ja"),
        ("The Japanese word for cat is 猫 (ねこ, neko), and it is often heard.", "en"),
        ("中华人民共和国", "zh"),
        ("臺北市立動物園位於臺灣臺北市文山區,是一個大型的動物園。" * 5, "zh"),
        ("优の良品是一家连锁零食店,主要销售各种零食。" * 3, "zh"),
        ("한국어로 쓴 문장입니다.", "ko"),
        ("Bonjour le monde, comment allez-vous ?", "fr"),
        ("Über uns", "de"),
        ("```python\nimport os\n```\n短い説明です。", "ja"),
    ],
)
def test_texts(text: str, language: str) -> None:
    assert detect(text) == language


def test_a_hint_counts_only_where_the_text_is_too_short_to_tell() -> None:
    assert detect("Menu 12", "fr-CA") == "fr"
    assert detect("Menu 12") == "en"
    assert detect("北京大学", "zh-Hans") == "zh"
    assert detect("北京大学", "en") == "ja"
    assert detect("Menu 12", "not a code") == "en"
    english = "This paragraph is written in plain English, whatever its header may say of it."
    assert detect(english, "ja") == "en"
    assert detect("これは日本語です。", "en") == "ja"


def test_only_the_beginning_is_looked_at() -> None:
    assert detect("This is English text. " * 100 + "日本語の文章です。" * 1000) == "en"


def test_many_threads_share_one_model() -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(detect, ["Guten Morgen, wie geht es Ihnen heute?"] * 32)
        assert set(answers) == {"de"}


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the sample data")
@pytest.mark.parametrize(
    ("corpus", "language"), [("ja_jsquad", "ja"), ("ja_koho", "ja"), ("en_cranfield", "en")]
)
def test_real_corpora(corpus: str, language: str) -> None:
    lines = (DATA / f"golden/{corpus}/corpus.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [text for line in lines if (text := json.loads(line)["text"]).strip()]
    right = sum(detect(text) == language for text in texts)
    assert right / len(texts) > 0.999


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the sample data")
@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_documentation_tree_full_of_code(language: str) -> None:
    pages = sorted((DATA / "docs_fastapi" / language).rglob("*.md"))
    assert {detect(page.read_text(encoding="utf-8")) for page in pages} == {language}
