"""A fake embedder for tests and dry runs: no model, no meaning, but texts are told apart.

Texts that share words, or three letters in a row, or two Japanese characters, are near each other;
synonyms are not. The same text gives the same bytes on every machine.
"""

import hashlib
import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.embedders.batching import check_request
from search_app.errors import InvalidInputError
from search_app.types import Kind, Matrix, ModelIdentity

SMALLEST, LARGEST = 8, 4096
"""Dimensions that can be asked for."""

_REVISION = "1"
_BATCH_SIZE = 256

# Features are added as whole numbers and the text's own digest as halves: every sum is exact, in
# whatever order a machine adds, and no coordinate that holds a digest byte can become zero.
_FEATURE_WEIGHT = 512
_PLACES = 4
_DIGEST_BYTES = 64
_DIGEST_CENTRE = 127.5

_WORD = re.compile(r"\w+")
_FIRST_CJK = 0x2E80
_EDGE = "\n"

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_GRAM_FACTORS = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
)
_BIGRAM_SEED = np.uint64(0x27D4EB2F165667C5)


class HashingEmbedder(Embedder):
    """Adds up signed features of a text (Weinberger et al., ICML 2009); unit vectors.

    It exists for tests and dry runs: fast, deterministic, and useless as a model of meaning.
    ``dimensions`` may be given as a user wrote it.

    Raises:
        InvalidInputError: ``dimensions`` is no number from 8 to 4096.
    """

    batch_size = _BATCH_SIZE

    def __init__(self, dimensions: int | str) -> None:
        self.dimensions = _dimensions(dimensions)
        self.spec = f"hashing:{self.dimensions}"

    async def describe(self) -> ModelIdentity:
        """Say what this is; asks nobody."""
        return ModelIdentity(
            provider="hashing",
            model=self.spec,
            revision=_REVISION,
            dimensions=self.dimensions,
            max_tokens=None,
            document_prefix="",
            query_prefix="",
        )

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Hash 1 to ``batch_size`` texts; queries and documents alike.

        Raises:
            ValueError: no text, more than ``batch_size``, or an empty one.
        """
        check_request(texts, self.batch_size)
        sent = [self.text_sent(text, kind) for text in texts]
        return _hash_texts(sent, self.dimensions)

    def text_sent(self, text: str, kind: Kind) -> str:  # noqa: ARG002 - part of the port
        """Give the text as it is: there are no prefixes."""
        return text


def _dimensions(given: int | str) -> int:
    written = str(given)
    # isdecimal alone would take digits of other scripts.
    if written.isascii() and written.isdecimal() and SMALLEST <= int(written) <= LARGEST:
        return int(written)
    raise InvalidInputError(
        f"hashing:{written}: write hashing:DIM with DIM from {SMALLEST} to {LARGEST}, "
        "for example hashing:384"
    )


def _hash_texts(texts: Sequence[str], dimensions: int) -> Matrix:
    rows, features = _features([text.lower() for text in texts])
    totals = np.zeros((len(texts), dimensions))
    for place in range(_PLACES):
        hashes = _mix(features + np.uint64(place))
        columns = (hashes >> np.uint64(32)) % np.uint64(dimensions)
        signs = 1.0 - 2.0 * (hashes & np.uint64(1)).astype(np.float64)
        cells = rows * dimensions + columns.astype(np.int64)
        totals += np.bincount(cells, signs, totals.size).reshape(totals.shape)
    totals *= _FEATURE_WEIGHT
    digests = _digests(texts)[:, :dimensions]
    totals[:, : digests.shape[1]] += digests
    unit: Matrix = (totals / np.linalg.norm(totals, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _features(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Give the feature hashes of all texts, and which text each belongs to."""
    gram_rows, grams = _grams(texts)
    words = [_WORD.findall(text) for text in texts]
    word_rows = np.repeat(np.arange(len(texts)), [len(found) for found in words])
    hashes = [_word_hash(word) for found in words for word in found]
    return (
        np.concatenate((gram_rows, word_rows)),
        np.concatenate((grams, np.array(hashes, dtype=np.uint64))),
    )


def _grams(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Hash each character with both neighbours, and each pair of adjacent CJK characters."""
    lengths = [len(text) for text in texts]
    rows = np.repeat(np.arange(len(texts)), lengths)
    padded = _EDGE + _EDGE.join(texts) + _EDGE
    characters = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    places = np.arange(len(rows)) + rows + 1
    before, here, after = (characters[places + step].astype(np.uint64) for step in (-1, 0, 1))
    first, second, third = _GRAM_FACTORS
    trigrams = _mix(before * first + here * second + after * third)
    cjk = (here >= _FIRST_CJK) & (after >= _FIRST_CJK)
    bigrams = _mix(here[cjk] * first + after[cjk] * second + _BIGRAM_SEED)
    return np.concatenate((rows, rows[cjk])), np.concatenate((trigrams, bigrams))


def _word_hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all output bits (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


def _digests(texts: Sequence[str]) -> NDArray[np.float64]:
    """Give each text 64 odd halves of its own, so that no two texts are equal and none is zero."""
    joined = b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts
    )
    values = np.frombuffer(joined, dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
    return values.astype(np.float64) - _DIGEST_CENTRE
