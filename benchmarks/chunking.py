"""The chunker against plain tokenization of the same texts, in one run.

Every chunker must count tokens, so that counting is the floor; the ratio says what cutting adds.
Texts are real documentation where it lies beside the repository, else what Python has in itself
and Japanese sentences made up here.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics

from ingest.chunker import chunk
from ingest.types import ChunkSpan, LoadedDocument, Structure
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.types import Chunking

PAGES = Path(__file__).parents[2] / "shared/data/docs_fastapi"
ROUNDS = 3
MADE_UP_SENTENCES = 10_000


def main() -> None:
    """Print speed and sizes of chunks; takes about half a minute."""
    tokens = TokenCounter()
    tokens.count_tokens("load")
    for language in ("en", "ja"):
        structure, texts = _texts(language)
        _print_comparison(language, structure, texts, tokens)


def _texts(language: str) -> tuple[Structure, list[str]]:
    pages = sorted((PAGES / language).rglob("*.md"))
    if pages:
        return "markdown", [page.read_text(encoding="utf-8") for page in pages]
    return "plain", ["\n\n".join(topics.values()) if language == "en" else _made_up()]


def _made_up() -> str:
    chosen = random.Random(1)
    words = ["検索", "文書", "順位", "東京", "の", "は", "が", "を", "する", "、"]
    sentences = (
        "".join(chosen.choices(words, k=chosen.randint(5, 30))) + "。"
        for _ in range(MADE_UP_SENTENCES)
    )
    return "".join(sentences)


def _print_comparison(
    language: str, structure: Structure, texts: Sequence[str], tokens: TokenCounter
) -> None:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    documents = [_document(text, language, structure) for text in texts]
    counting, cutting = list[float](), list[float]()
    # Taking turns, so that a slow moment of the machine hits both.
    for _ in range(ROUNDS):
        counting.append(_seconds(lambda: [tokens.count_tokens(text) for text in texts]))
        cutting.append(_seconds(lambda: _cut_all(documents, tokens)))
    spans = _cut_all(documents, tokens)
    print(f"{language}: {len(texts)} texts, {megabytes:.2f} MB, {structure}")
    print(f"  tokenize {megabytes / min(counting):5.2f} MB/s")
    print(f"  chunk    {megabytes / min(cutting):5.2f} MB/s")
    print(f"  ratio of times {min(cutting) / min(counting):.1f}")
    sizes = sorted(span.tokens for span in spans)
    print(
        f"  {len(sizes)} chunks of {sizes[0]} to {sizes[-1]} tokens, median "
        f"{statistics.median(sizes):.0f}, {sum(size < 64 for size in sizes)} below 64"
    )


def _cut_all(documents: Sequence[LoadedDocument], tokens: TokenCounter) -> list[ChunkSpan]:
    return [span for document in documents for span in chunk(document, Chunking(), tokens)]


def _document(text: str, language: str, structure: Structure) -> LoadedDocument:
    return LoadedDocument(
        uri="benchmark",
        source="benchmark",
        title="benchmark",
        titled=False,
        text=text,
        language=language,
        media_type="text",
        structure=structure,
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
