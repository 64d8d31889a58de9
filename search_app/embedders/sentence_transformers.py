"""Any model of sentence-transformers, run in this process by torch."""

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search_app.embedders.base import Embedder, Limits
from search_app.embedders.batching import check_request
from search_app.embedders.onnx_files import max_tokens
from search_app.embedders.onnx_pooling import shortened
from search_app.embedders.sentence_transformers_files import (
    ModelFiles,
    find_files,
    folder_of,
    revision_of,
)
from search_app.errors import (
    ConfigurationError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import JSON, Kind, Matrix, ModelIdentity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

PROVIDER = "sentence-transformers"
LIBRARIES = (PROVIDER, "transformers", "tokenizers", "torch", "numpy")
INSTALL = (
    "pip install 'unmoved[sentence-transformers]'; without a GPU first "
    "pip install torch --index-url https://download.pytorch.org/whl/cpu"
)
PROBE = "dimensions"
"""The text embedded to see how long vectors are."""
_ALONE = 16
"""Texts of a call that are each run by itself."""
_SORTED = 8
"""Batches' worth of texts in a call that are sorted by length among each other."""
_UNLIMITED = 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    model: "SentenceTransformer"
    device: str
    max_tokens: int | None


class SentenceTransformersEmbedder(Embedder):
    """Embeds with a model on disk, with the prompts, length and modules that its own files name.

    ``model`` is a folder or a name of the Hugging Face Hub. ``batch_size`` 1 runs each text by
    itself, so that a vector depends on its text alone; with more, texts of like length travel
    together and pad each other. The model is loaded at the first text, in one thread that all
    texts go through; torch spreads the work over cores or a GPU by itself. Names are looked for in
    ``cache_dir`` (None: the Hub client's own place). ``dimensions`` keeps the first so many numbers
    of each vector and brings it to length 1 again, for models that were trained for that (Kusupati
    et al., NeurIPS 2022).

    Raises:
        ConfigurationError: no model is named, the package is missing, or a folder is not there.
    """

    not_guaranteed = (
        "The same vectors on another machine, device or version of torch: last bits differ. With "
        "texts in batches a vector depends on its company."
    )

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = 1,
        dimensions: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        _require_package()
        self._name = model.strip()
        if not self._name:
            raise ConfigurationError(
                "the embedder names no model: write sentence-transformers:NAME_OR_PATH"
            )
        folder = folder_of(self._name)
        # A collection remembers the spec and may be used from another working directory.
        self._name = str(folder) if folder else self._name
        self.spec = f"{PROVIDER}:{self._name}"
        if dimensions is not None:
            self.spec += f"?dimensions={dimensions}"
            self.unit = True
        self._dimensions = dimensions
        self.batch_size = _ALONE if batch_size == 1 else _SORTED * batch_size
        # One call waits while another runs, so that the model never idles.
        self.concurrency = 2
        self._together = batch_size
        self._cache_dir = cache_dir
        self._files: ModelFiles | None = None
        self._loaded: _Loaded | None = None
        self._tokenizer: Tokenizer | None = None
        self._finding = threading.Lock()
        self._counting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")
        if folder is not None:
            # What is wrong with the folder is said when it is used.
            with suppress(ConfigurationError):
                self.limits = Limits(text_tokens=max_tokens(self.spec, folder))

    async def describe(self) -> ModelIdentity:
        """Load the model and say what it is: its files by their hash, its dimensions by a text.

        Raises:
            ConfigurationError: there is no such model, or it cannot be loaded.
            EmbedderUnavailableError: it would have to be fetched, and cannot be; or torch failed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._describe)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts.

        Returns:
            (n, d) float32, row i belongs to ``texts[i]``.

        Raises:
            ValueError: no text, too many, or an empty one.
            ConfigurationError, EmbedderUnavailableError: as ``describe``.
            EmbedderResponseError: the model makes no dense vectors.
        """
        check_request(texts, self.batch_size)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encode, list(texts), kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        """Put the model's own prompt for this kind before a text.

        Raises:
            ConfigurationError, EmbedderUnavailableError: the model's files cannot be found.
        """
        return self._found().prompts.get(kind, "") + text

    def count_tokens(self, text: str, kind: Kind) -> int | None:
        """Count what is sent, marks included; None where the model has no tokenizer.json.

        Raises:
            ConfigurationError, EmbedderUnavailableError: the model's files cannot be found or read.
        """
        path = self._found().folder / "tokenizer.json"
        if not path.is_file():
            return None
        with self._counting:
            if self._tokenizer is None:
                self._tokenizer = _load_tokenizer(self.spec, path)
        clean = self.text_sent(text, kind).encode("utf-8", "replace").decode()
        return len(self._tokenizer.encode(clean).ids)

    async def aclose(self) -> None:
        """End the thread once its text is done, and let go of the model."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._loaded = None

    def _describe(self) -> ModelIdentity:
        vectors = self._encode([PROBE], "document")
        files, loaded = self._found(), self._model()
        settings: dict[str, JSON] = {"device": loaded.device, "batch_size": self._together}
        if self._dimensions is not None:
            settings["dimensions"] = self._dimensions
        return ModelIdentity(
            provider=PROVIDER,
            model=files.folder.name if folder_of(self._name) else self._name,
            revision=revision_of(files.folder),
            dimensions=vectors.shape[1],
            max_tokens=loaded.max_tokens,
            document_prefix=files.prompts["document"],
            query_prefix=files.prompts["query"],
            settings=settings,
            library_versions={name: metadata.version(name) for name in LIBRARIES},
        )

    def _encode(self, texts: list[str], kind: Kind) -> Matrix:
        model = self._model().model
        try:
            vectors = model.encode(
                texts,
                prompt=self._found().prompts.get(kind, ""),
                # Models with a way of their own for queries choose it by this.
                task="query" if kind in ("query", "code") else "document",
                batch_size=self._together,
                show_progress_bar=False,
            )
        except Exception as exc:
            # Of torch, of the tokenizer, of modules that come with a model.
            raise EmbedderUnavailableError(f"{self.spec}: {_first_line(exc)}") from exc
        if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:  # noqa: PLR2004 - rows and columns
            raise EmbedderResponseError(f"{self.spec}: makes no dense vectors, one for each text")
        return shortened(self.spec, vectors.astype(np.float32, copy=False), self._dimensions)

    def _found(self) -> ModelFiles:
        with self._finding:
            if self._files is None:
                self._files = find_files(self._name, self._cache_dir)
                with suppress(ConfigurationError):
                    self.limits = Limits(text_tokens=max_tokens(self.spec, self._files.folder))
            return self._files

    def _model(self) -> _Loaded:
        # Only ever called in the one thread.
        if self._loaded is None:
            self._loaded = _load(self.spec, self._found().folder)
        return self._loaded


def _load(spec: str, folder: Path) -> _Loaded:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    # A bar for every file of weights, on whatever terminal a command runs in.
    transformers_logging.disable_progress_bar()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    try:
        # Everything lies in the folder; code that a model brings along is not run.
        model = SentenceTransformer(str(folder), local_files_only=True)
    except Exception as exc:
        # Damaged weights, a missing module, a newer format: each raises something else.
        raise ConfigurationError(f"{spec}: cannot be loaded: {_first_line(exc)}") from exc
    return _Loaded(model=model, device=model.device.type, max_tokens=_max_tokens(model))


def _load_tokenizer(spec: str, path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:
        # The library raises bare Exception for a damaged file.
        raise ConfigurationError(f"{spec}: cannot be loaded: {_first_line(exc)}") from exc
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _max_tokens(model: Any) -> int | None:
    limit = model.max_seq_length or getattr(model.tokenizer, "model_max_length", None)
    # Tokenizers without a limit say 10^30.
    return limit if isinstance(limit, int) and limit < _UNLIMITED else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _require_package() -> None:
    # Not by importing it: that takes seconds.
    if importlib.util.find_spec("sentence_transformers") is None:
        raise ConfigurationError(
            f"embedders {PROVIDER}:NAME_OR_PATH need the package {PROVIDER}: {INSTALL}"
        )
