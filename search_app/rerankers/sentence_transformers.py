"""Any cross-encoder of sentence-transformers, run in this process by torch."""

import asyncio
import importlib.util
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_app.embedders.sentence_transformers_files import find_files, folder_of
from search_app.errors import (
    ConfigurationError,
    EmbedderUnavailableError,
    RerankerResponseError,
    RerankerUnavailableError,
)
from search_app.rerankers.base import Reranker
from search_app.types import Vector

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

PROVIDER = "sentence-transformers"
INSTALL = (
    "pip install 'unmoved[sentence-transformers]'; without a GPU first "
    "pip install torch --index-url https://download.pytorch.org/whl/cpu"
)
BATCH = 16
"""Pairs that go through the model together; the library sorts them by length."""
_ORGANISATION = "cross-encoder"


class SentenceTransformersReranker(Reranker):
    """Scores with a cross-encoder on disk: the raw output of its one label.

    ``model`` is a folder or a name of the Hugging Face Hub. It is loaded at the first query, in
    one thread that all queries go through. Names are looked for in ``cache_dir`` (None: the Hub
    client's own place).

    Raises:
        ConfigurationError: no model is named, the package is missing, or a folder is not there.
    """

    def __init__(self, model: str, *, cache_dir: Path | None = None) -> None:
        _require_package()
        name = model.strip()
        if not name:
            raise ConfigurationError(
                "the reranker names no model: write sentence-transformers:NAME_OR_PATH"
            )
        folder = folder_of(name)
        self._name = str(folder) if folder else name if "/" in name else f"{_ORGANISATION}/{name}"
        self.spec = f"{PROVIDER}:{folder or name}"
        self._cache_dir = cache_dir
        self._model: CrossEncoder | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rerank")

    async def rerank(self, query: str, texts: Sequence[str]) -> Vector:
        """Score texts; pairs longer than the model takes are cut at their end.

        Returns:
            (n,) float32, score i belongs to ``texts[i]``.

        Raises:
            ConfigurationError: there is no such model, it cannot be loaded, or judges no pairs.
            RerankerUnavailableError: it would have to be fetched, and cannot be; or torch failed.
            RerankerResponseError: it answers with NaN or infinity.
        """
        if not texts:
            return np.empty(0, dtype=np.float32)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._score, query, list(texts))

    async def aclose(self) -> None:
        """End the thread once its query is done, and let go of the model."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._model = None

    def _score(self, query: str, texts: list[str]) -> Vector:
        model = self._loaded()
        try:
            scores = model.predict(
                [(query, text) for text in texts],
                batch_size=BATCH,
                activation_fn=_as_it_is,
                show_progress_bar=False,
            )
        except Exception as exc:
            # Of torch, of the tokenizer, of modules that come with a model.
            raise RerankerUnavailableError(f"{self.spec}: {_first_line(exc)}") from exc
        found: Vector = np.asarray(scores, dtype=np.float32)
        if found.shape != (len(texts),) or not np.isfinite(found).all():
            raise RerankerResponseError(
                f"{self.spec}: does not give every text one finite score; is it a reranker?"
            )
        return found

    def _loaded(self) -> "CrossEncoder":
        # Only ever called in the one thread.
        if self._model is None:
            self._model = _load(self.spec, self._files())
        return self._model

    def _files(self) -> Path:
        try:
            return find_files(self._name, self._cache_dir).folder
        except EmbedderUnavailableError as exc:
            raise RerankerUnavailableError(str(exc)) from exc


def _load(spec: str, folder: Path) -> "CrossEncoder":
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging as transformers_logging

    # A bar for every file of weights, on whatever terminal a command runs in.
    transformers_logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    try:
        # Everything lies in the folder; code that a model brings along is not run.
        model = CrossEncoder(str(folder), local_files_only=True)
    except Exception as exc:
        # Damaged weights, a missing module, a newer format: each raises something else.
        raise ConfigurationError(f"{spec}: cannot be loaded: {_first_line(exc)}") from exc
    if model.num_labels != 1:
        raise ConfigurationError(
            f"{spec}: has {model.num_labels} labels; a reranker has one, the relevance"
        )
    return model


def _as_it_is(scores: Any) -> Any:
    """Leave the model's output alone: the usual sigmoid makes all good hits 1.0 in float32."""
    return scores


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _require_package() -> None:
    # Not by importing it: that takes seconds.
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ConfigurationError(
            f"rerankers {PROVIDER}:NAME_OR_PATH need the package {PROVIDER}: {INSTALL}"
        )
