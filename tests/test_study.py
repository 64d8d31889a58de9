"""Studies of vectors: noise of an exact size, clusterings, what a difference goes with."""

import importlib.util
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.study import determinism, keeping
from ingest.study.determinism import Plan, study
from ingest.study.determinism_report import as_html, as_json, as_markdown
from ingest.study.features import features_of
from ingest.study.measures import distances, equal_rows, interval_of, noisy
from ingest.study.pairs import CLAIM, Comparison, Kinship, compare, correlations, linear_cka
from ingest.study.pairs_report import sentences
from ingest.study.reading import draw, read_texts, read_vectors
from ingest.study.rows import ModelRow, NoiseRow, model_row, noise_row
from search_app.config import Settings, load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import (
    ConfigurationError,
    EmbedderUnavailableError,
    InvalidInputError,
)
from search_app.types import Kind, Matrix

REAL = Path(__file__).parents[2] / "shared/data/embeddings"
needs_clustering = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[study]'",
)
WORDS = ("harbour", "glacier", "ledger", "beekeeper", "orchestra", "printer", "apples", "bridge")


def vectors(rows: int, dimensions: int = 32, seed: int = 0) -> Matrix:
    drawn = np.random.default_rng(seed).standard_normal((rows, dimensions))
    unit: Matrix = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


def corpus(number: int) -> list[str]:
    draw = np.random.default_rng(number)
    return [" ".join(draw.choice(WORDS, 3 + place % 9)) + f" {place}" for place in range(number)]


def jsonl(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


class Quiet:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps = 0

    @contextmanager
    def stage(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        assert total > 0
        self.stages.append(label)

        def step(more: int) -> None:
            self.steps += more

        yield step


# Noise.


@given(
    lowest=st.floats(0.5, 0.99999),
    share=st.floats(0.001, 1),
    rows=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
def test_noise_reaches_the_lowest_cosine_exactly_on_its_share_of_the_rows(
    lowest: float, share: float, rows: int, seed: int
) -> None:
    # Of another seed than the noise: noise along a vector is none.
    before = vectors(rows, seed=10**6 + seed % 1000)
    after = noisy(before, lowest=lowest, share=share, seed=seed)
    assert after.dtype == np.float32
    apart = distances(before, after)
    # A float32 of length 1 has some 1e-7 of room on its sphere.
    assert apart.max() == pytest.approx(1 - lowest, rel=1e-2, abs=1e-7)
    assert (~equal_rows(before, after)).sum() == max(1, round(share * rows))
    again = noisy(before, lowest=lowest, share=share, seed=seed)
    assert after.tobytes() == again.tobytes()


@pytest.mark.parametrize(("lowest", "share"), [(0, 1), (1, 1), (0.9, 0), (0.9, 1.1), (-0.5, 1)])
def test_noise_that_cannot_be_meant(lowest: float, share: float) -> None:
    with pytest.raises(InvalidInputError, match="lowest cosine"):
        noisy(vectors(3), lowest=lowest, share=share, seed=0)


def test_noise_has_no_direction() -> None:
    before = vectors(4000, 16)
    moved = (noisy(before, lowest=0.99, share=1, seed=3) - before).astype(np.float64)
    assert np.abs(moved.mean(axis=0)).max() < 5 * moved.std() / np.sqrt(len(moved))


# Values.


@given(st.integers(2, 40), st.floats(0.01, 100))
def test_a_length_is_no_distance_and_equal_bits_are_none(rows: int, scale: float) -> None:
    one = vectors(rows)
    assert distances(one, one).tolist() == [0.0] * rows
    assert distances(one, one * np.float32(scale)).max() < 1e-12


def test_zeros_of_either_sign_are_not_equal_bits_but_no_distance() -> None:
    one = np.array([[1, 0.0], [1, 0.0]], np.float32)
    other = np.array([[1, -0.0], [1, 0.0]], np.float32)
    assert equal_rows(one, other).tolist() == [False, True]
    assert distances(one, other).tolist() == [0, 0]


def test_intervals_are_students_and_end_at_one() -> None:
    # The t quantile at 0.975 with 2 degrees of freedom is 4.303; s / sqrt(3) = 0.05774.
    found = interval_of([0.4, 0.5, 0.6])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.2516, 0.7484), abs=1e-4)
    assert interval_of([0.99, 0.9, 1.0]).high == 1
    alone = interval_of([0.7])
    assert (alone.low, alone.high) == (0.7, 0.7)


# What is asked for.


def test_models_and_their_options() -> None:
    assert model_row("bundled") == ModelRow(name="bundled", spec="bundled")
    row = model_row("onnx:/a folder/x batch=32,8 order=shuffled")
    assert (row.spec, row.batches, row.shuffled) == ("onnx:/a folder/x", (32, 8), True)
    settings = load_settings()
    assert row.settings(settings, 0).onnx_batch_size == 32
    assert row.settings(settings, 1).onnx_batch_size == 8
    assert model_row("sentence-transformers:m batch=4").batches == (4, 4)


def test_a_row_is_called_by_the_last_part_of_a_folder(tmp_path: Path) -> None:
    assert model_row(f"onnx:{tmp_path} batch=2").name == f"onnx:{tmp_path.name} batch=2"
    assert model_row(f"onnx:{tmp_path}").spec == f"onnx:{tmp_path}"
    assert model_row("openai:a/b batch=2").name == "openai:a/b batch=2"


@pytest.mark.parametrize(
    "written",
    [
        "",
        " batch=3",
        "bundled batch=3",
        "onnx:x batch=0",
        "onnx:x batch=1,2,3",
        "onnx:x batch=many",
        "onnx:x batch=１",
        "onnx:x order=sorted",
    ],
)
def test_models_that_cannot_be_meant(written: str) -> None:
    with pytest.raises(InvalidInputError, match="--models"):
        model_row(written)


def test_noise_as_it_is_written() -> None:
    assert noise_row("0.9964") == NoiseRow(lowest=0.9964, share=1)
    assert noise_row(" 0.9964@5% ").share == 0.05
    assert noise_row("0.9964@0.005").share == 0.005
    for wrong in ("", "x", "1", "0", "0.9@", "0.9@0", "0.9@2", "0.9@x", "nan"):
        if wrong == "0.9@":
            assert noise_row(wrong).share == 1
            continue
        with pytest.raises(InvalidInputError, match="--noise"):
            noise_row(wrong)


# The experiment.


def plan(folder: Path, number: int = 60, **given: object) -> Plan:
    path = jsonl(folder / "corpus.jsonl", corpus(number))
    chosen: dict[str, object] = {
        "texts": draw(path, limit=None, seed=1),
        "models": [model_row("hashing:64")],
        "noise": [],
        "repeats": 2,
        "out": folder / "out",
        **given,
    }
    return Plan(**chosen)  # type: ignore[arg-type] # names of its fields


@needs_clustering
async def test_equal_vectors_have_equal_clusters_and_noise_has_its_size(tmp_path: Path) -> None:
    asked = plan(tmp_path, noise=[noise_row("0.9"), noise_row("0.994344@10%")], repeats=3)
    found = await study(load_settings(), asked, Quiet())
    model, every, some = found.rows
    assert (model.lowest, model.median, model.equal, model.ari.mean) == (1, 1, 1, 1)
    assert every.lowest == pytest.approx(0.9, abs=1e-6)
    assert every.equal == 0
    assert some.lowest == pytest.approx(0.994344, abs=1e-6)
    assert (some.median, some.equal, some.published) == (1, 0.9, 0.7846)
    assert every.published is None
    assert len(every.ari.values) == 3
    assert every.ari.mean < 1
    text = as_markdown(found)
    assert "| hashing:64 | 1 | 1 | 100.00% | 1.0000 |" in text
    assert "0.99434400" in as_html(found)
    kept = as_json(found, peak_mb=1.0)
    assert kept["rows"][1]["ari"]["values"] == list(every.ari.values)


class Counting(HashingEmbedder):
    """Counts texts, and fails once after some; with ``drift`` every later answer differs a bit."""

    batch_size = 8
    sent = 0
    fail_at = -1
    turns = 0

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        cls = type(self)
        if 0 <= cls.fail_at <= cls.sent:
            cls.fail_at = -1
            raise EmbedderUnavailableError("the provider went away")
        cls.sent += len(texts)
        return await super().embed(texts, kind)


@needs_clustering
async def test_an_interrupted_run_goes_on_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fresh(Counting):
        fail_at = 40

    def make(_spec: str, _settings: Settings) -> Embedder:
        return Fresh(64)

    monkeypatch.setattr(determinism, "make_embedder", make)
    monkeypatch.setattr(determinism, "_BLOCK", 10)
    asked = plan(tmp_path)
    with pytest.raises(EmbedderUnavailableError):
        await study(load_settings(), asked, Quiet())
    display = Quiet()
    found = await study(load_settings(), asked, display)
    # Blocks are whole calls: 16 texts, of which two were kept.
    assert Fresh.sent == 40 + (60 - 32) + 60
    assert found.rows[0].equal == 1
    assert display.steps == 60 + 60 + 2
    sent = Fresh.sent
    again = await study(load_settings(), asked, Quiet())
    assert Fresh.sent == sent
    assert again.rows[0].ari == found.rows[0].ari
    assert not list((tmp_path / "out/vectors").glob("*/"))
    # A file that was cut off is made anew.
    kept = min((tmp_path / "out/vectors").glob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:100])
    await study(load_settings(), asked, Quiet())
    assert Fresh.sent == sent + 60


@needs_clustering
async def test_in_another_order_rows_still_belong_to_their_texts(tmp_path: Path) -> None:
    asked = plan(tmp_path, models=[model_row("hashing:64 order=shuffled")])
    found = await study(load_settings(), asked, Quiet())
    assert (found.rows[0].equal, found.rows[0].ari.mean) == (1, 1)


@needs_clustering
async def test_too_few_texts_for_ten_clusters(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="10 texts; more than 10 are needed"):
        await study(load_settings(), plan(tmp_path, number=10), Quiet())


async def test_the_missing_package_is_named_before_a_text_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'unmoved\[study\]'"):
        await study(load_settings(), plan(tmp_path), Quiet())
    assert not (tmp_path / "out").exists()


def test_other_facts_have_other_names() -> None:
    assert keeping.key_of({"a": 1, "b": 2}) == keeping.key_of({"b": 2, "a": 1})
    assert keeping.key_of({"a": 1}) != keeping.key_of({"a": 2})


def test_a_sample_is_the_same_for_a_seed_and_keeps_its_order(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", [*corpus(50), "   "])
    one, two, other = (draw(path, limit=20, seed=seed) for seed in (1, 1, 2))
    assert one.texts == two.texts
    assert one.digest == two.digest != other.digest
    assert (len(one.texts), one.available) == (20, 50)
    everything = corpus(50)
    assert [everything.index(text) for text in one.texts] == sorted(
        everything.index(text) for text in one.texts
    )


# Two sets of vectors.


def moved_by(
    values: Sequence[float], *, dimensions: int = 24, seed: int = 5
) -> tuple[Matrix, Matrix]:
    """Make pairs that lie the farther apart the larger their value is."""
    before = vectors(len(values), dimensions, seed)
    draw = np.random.default_rng(seed + 1000)
    size = 0.01 + 0.1 * np.array(values)[:, None] / (max(values) or 1)
    after = before + size * draw.standard_normal(before.shape)
    return before, after.astype(np.float32)


def lines(newlines: Sequence[int]) -> list[str]:
    """Make texts of one length with so many newlines."""
    return [
        ("a\n" * count).ljust(60, "b") + f"{place % 10}" for place, count in enumerate(newlines)
    ]


def test_what_a_difference_goes_with_is_named() -> None:
    counts = np.random.default_rng(2).integers(0, 20, 150).tolist()
    found = compare(*moved_by(counts), lines(counts))
    assert found.strongest is not None
    assert found.strongest.feature.name == "newlines"
    assert found.geometry.kinship is Kinship.SAME
    assert "falls with the number of newlines" in sentences(found)[-1]
    assert "line breaks" in sentences(found)[-1]


def test_the_position_in_a_batch_is_looked_at_where_its_size_is_known() -> None:
    places = [place % 8 for place in range(160)]
    texts = lines(np.random.default_rng(2).integers(0, 20, 160).tolist())
    found = compare(*moved_by(places), texts, batch=8)
    assert found.strongest is not None
    assert found.strongest.feature.name == "batch position"
    assert "batch position" not in {
        each.feature.name for each in compare(*moved_by(places), texts).correlations
    }


def test_nothing_is_claimed_of_noise() -> None:
    claimed = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        texts = lines(draw.integers(0, 20, 100).tolist())
        found = correlations(draw.random(100), features_of(texts, batch=8))
        claimed += any(each.claimed for each in found)
    assert claimed == 0


def test_a_weak_correlation_is_shown_and_not_claimed() -> None:
    draw = np.random.default_rng(1)
    counts = draw.integers(0, 20, 2000)
    apart = counts * 0.2 + draw.standard_normal(2000) * 6
    newlines = next(
        each
        for each in correlations(apart, {"newlines": counts.astype(float)})
        if each.feature.name == "newlines"
    )
    assert 0 < newlines.low < newlines.rho < CLAIM
    assert not newlines.claimed


def test_equal_vectors_leave_nothing_to_explain() -> None:
    one = vectors(50)
    found = compare(one, one.copy(), lines(list(range(50))))
    assert (found.equal, found.lists.changed, found.correlations) == (50, 0, [])
    assert found.geometry.kinship is Kinship.EQUAL
    assert sentences(found)[-1] == "there is nothing to explain"


def rotation(dimensions: int) -> Matrix:
    drawn = np.random.default_rng(9).standard_normal((dimensions, dimensions))
    return np.linalg.qr(drawn)[0].astype(np.float32)


def test_rotated_related_and_unrelated_spaces() -> None:
    one = vectors(300, 16)
    texts = lines([place % 20 for place in range(300)])

    def kinship(other: NDArray[Any]) -> Comparison:
        return compare(one, other.astype(np.float32), texts)

    turned = kinship(one @ rotation(16))
    assert turned.geometry.kinship is Kinship.ROTATED
    assert turned.geometry.fitted == pytest.approx(1, abs=1e-5)
    assert (turned.lists.material, round(turned.geometry.cka, 3)) == (0, 1)
    noise = np.random.default_rng(4).standard_normal(one.shape) * 0.08
    assert kinship(one @ rotation(16) + noise).geometry.kinship is Kinship.RELATED
    unrelated = kinship(vectors(300, 16, seed=77))
    assert unrelated.geometry.kinship is Kinship.UNRELATED
    assert unrelated.geometry.cka < 0.1


@given(st.integers(5, 60), st.floats(0.1, 10))
def test_cka_knows_no_rotation_and_no_scale(rows: int, scale: float) -> None:
    one = vectors(rows, 12).astype(np.float64)
    assert linear_cka(one, scale * one @ rotation(12)) == pytest.approx(1, abs=1e-4)


def test_the_real_case_of_a_client_that_changed_line_breaks() -> None:
    files = [REAL / f"notionqa_{name}" for name in ("2023-04-07_2fcf78d", "2023-05-23_7161084")]
    if not files[0].with_suffix(".npy").exists():
        pytest.skip("the vectors of ada-002 at two dates are not here")
    texts = read_texts(REAL / f"{files[1].name}.texts.jsonl")
    before, after = (read_vectors(file.with_suffix(".npy")) for file in files)
    found = compare(before, after, texts)
    assert found.texts == 194
    assert 0.979 < 1 - found.distance.highest < 0.981
    assert 1 - found.distance.median == pytest.approx(0.993, abs=5e-4)
    assert found.lists.overlap == pytest.approx(0.88, abs=0.005)
    assert found.geometry.kinship is Kinship.SAME
    assert found.strongest is not None
    assert found.strongest.feature.name == "newlines"
    assert found.strongest.rho > 0


@pytest.mark.parametrize(
    ("left", "right", "texts", "reason"),
    [
        ((5, 4), (5, 3), 5, "shapes differ: 5 × 4 and 5 × 3"),
        ((5, 4), (6, 4), 5, "shapes differ"),
        ((5, 4), (5, 4), 4, "4 texts for 5 vectors"),
        ((1, 4), (1, 4), 1, "no neighbours"),
    ],
)
def test_sets_that_do_not_belong_together(
    left: tuple[int, int], right: tuple[int, int], texts: int, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        compare(vectors(*left), vectors(*right), ["x"] * texts)


@given(st.lists(st.text(min_size=1), min_size=2, max_size=12), st.integers(1, 5))
def test_any_texts_can_be_compared(texts: list[str], k: int) -> None:
    number = len(texts)
    found = compare(vectors(number, 6, 1), vectors(number, 6, 2), texts, k=k)
    assert 0 <= found.lists.overlap <= 1
    assert found.lists.material <= found.lists.changed <= found.lists.queries == number
    assert len(sentences(found)) == 3


# Files that cannot be used.


class Harm:
    """Would write a file if it were ever unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def with_row(value: float) -> NDArray[np.float64]:
    array = vectors(40, 8).astype(np.float64)
    array[7] = value
    return array


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.empty((0, 8)), r"has shape \(0, 8\)"),
        (np.ones(8), r"has shape \(8,\)"),
        (with_row(np.nan), r"row 7 \(from 0\) holds NaN"),
        (with_row(np.inf), r"row 7 \(from 0\) holds NaN"),
        (with_row(0), r"row 7 \(from 0\) is all zeros"),
        (np.ones((2, 2), np.complex64), "holds complex64"),
        (np.full((2, 2), "x"), "real numbers are wanted"),
    ],
    ids=["empty", "flat", "nan", "infinite", "zeros", "complex", "text"],
)
def test_arrays_that_are_no_vectors(tmp_path: Path, array: NDArray[Any], reason: str) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(InvalidInputError, match=reason) as raised:
        read_vectors(tmp_path / "v.npy")
    assert str(raised.value).startswith(f"{tmp_path}/v.npy: ")
    assert "\n" not in str(raised.value)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    path, harmed = tmp_path / "v.npy", tmp_path / "harmed"
    objects = np.empty((4, 2), object)
    objects[:] = Harm(harmed)
    np.save(path, objects, allow_pickle=True)
    with pytest.raises(InvalidInputError, match=r"is no \.npy file of numbers"):
        read_vectors(path)
    path.write_bytes(pickle.dumps(Harm(harmed)))
    with pytest.raises(InvalidInputError, match=r"is no \.npy file of numbers"):
        read_vectors(path)
    assert keeping.load(path) is None
    assert not harmed.exists()


def test_files_that_are_no_vectors(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    with pytest.raises(InvalidInputError, match="cannot be read: no such file"):
        read_vectors(path)
    for content in (b"", b"\x93NUMPY", b"text"):
        path.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"is no \.npy file of numbers"):
            read_vectors(path)
    np.savez(tmp_path / "z.npz", vectors(3))
    with pytest.raises(InvalidInputError, match="is an archive"):
        read_vectors(tmp_path / "z.npz")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no text"),
        (b'{"text": "a"}\n{"title": "b"}\n', "line 2 is no JSON string"),
        (b'{"text": "a"}\nnot json\n', "line 2 is no JSON string"),
        (b'"\xff"\n', "is not UTF-8"),
        (b'{"text": "  "}\n', "all texts are blank"),
    ],
    ids=["empty", "no text", "no JSON", "no UTF-8", "blank"],
)
def test_corpora_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=reason):
        draw(path, limit=None, seed=1)


def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes('{"text": "one\u2028line"}\r\n"two"\n'.encode())
    assert read_texts(path) == ["one\u2028line", "two"]


def test_folders_of_lines_or_of_plain_files(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("second", encoding="utf-8")
    (tmp_path / "a.md").write_text("first", encoding="utf-8")
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    assert read_texts(tmp_path) == ["first", "second"]
    jsonl(tmp_path / "x.jsonl", ["third"])
    assert read_texts(tmp_path) == ["third"]
