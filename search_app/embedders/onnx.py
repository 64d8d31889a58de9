"""Any sentence model that was exported to ONNX, run in this process without torch."""

import asyncio
import importlib.util
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder
from search_app.embedders.batching import check_request
from search_app.embedders.onnx_files import OnnxFiles, find_onnx, revision_of
from search_app.errors import (
    ConfigurationError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import Kind, Matrix, ModelIdentity

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PROVIDER = "onnx"
LIBRARIES = ("onnxruntime", "tokenizers", "numpy")
INSTALL = "pip install 'unmoved[onnx]'"
PROBE = "dimensions"
"""The text embedded to see how long vectors are."""

_ALONE = 16
"""Texts of a call that are each run by itself."""

_ERRORS_ONLY = 3
_SHORTEST = 1e-12
"""What sums and lengths are kept above before something is divided by them."""

Tokens = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    session: Any
    tokenizer: "Tokenizer"
    inputs: frozenset[str]


class OnnxEmbedder(Embedder):
    """Embeds with a folder of model.onnx, tokenizer.json and the settings of sentence-transformers.

    With ``batch_size`` 1 each text is run by itself. With more, the texts of a call are one batch,
    in their order, filled up to the longest; what that does to a vector is the model's own doing: a
    dynamically quantised one scales its numbers by all that it is given at once. ``threads`` 0: one
    for each core. The model is loaded at the first text.

    Raises:
        ConfigurationError: no folder is named, it is not there, or a package is missing.
    """

    def __init__(self, folder: str, *, batch_size: int = 1, threads: int = 0) -> None:
        _require_packages()
        self._folder = _folder(folder.strip())
        self.spec = f"{PROVIDER}:{self._folder}"
        self.batch_size = _ALONE if batch_size == 1 else batch_size
        # One call waits while another runs, so that the model never idles.
        self.concurrency = 2
        self._together = batch_size
        self._workers = threads
        self._files: OnnxFiles | None = None
        self._loaded: _Loaded | None = None
        self._finding = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")

    async def describe(self) -> ModelIdentity:
        """Load the model and say what it is: its files by their hash, its dimensions by a text.

        Raises:
            ConfigurationError: the folder holds no model that can be loaded.
            EmbedderUnavailableError: ONNX Runtime failed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._describe)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts.

        Raises:
            ValueError: no text, too many, or an empty one.
            ConfigurationError, EmbedderUnavailableError: as ``describe``.
            EmbedderResponseError: the model makes no vectors of tokens.
        """
        check_request(texts, self.batch_size)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encode, list(texts), kind)

    def text_sent(self, text: str, kind: Kind) -> str:
        """Put the model's own prompt for this kind before a text.

        Raises:
            ConfigurationError: the model's files cannot be read.
        """
        return self._found().prompts.get(kind, "") + text

    async def aclose(self) -> None:
        """End the thread once its texts are done, and let go of the model."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._loaded = None

    def _describe(self) -> ModelIdentity:
        vectors = self._encode([PROBE], "document")
        files = self._found()
        return ModelIdentity(
            provider=PROVIDER,
            model=files.folder.name,
            revision=revision_of(files),
            dimensions=vectors.shape[1],
            max_tokens=files.max_tokens,
            document_prefix=files.prompts["document"],
            query_prefix=files.prompts["query"],
            settings={
                "batch_size": self._together,
                "pooling": files.pooling,
                "normalise": files.normalise,
            },
            library_versions={name: metadata.version(name) for name in LIBRARIES},
        )

    def _encode(self, texts: list[str], kind: Kind) -> Matrix:
        sent = [self.text_sent(text, kind) for text in texts]
        batches = [[text] for text in sent] if self._together == 1 else [sent]
        return np.concatenate([self._run(batch) for batch in batches])

    def _run(self, texts: list[str]) -> Matrix:
        loaded, files = self._model(), self._found()
        given = _tokens(
            loaded.tokenizer, [text.lower() for text in texts] if files.lower else texts
        )
        feeds = _feeds(given, files.pad_id, loaded.inputs)
        try:
            answer = loaded.session.run(None, feeds)[0]
        except Exception as exc:
            # The runtime has a class of its own for each status.
            raise EmbedderUnavailableError(f"{self.spec}: {_first_line(exc)}") from exc
        mask = feeds["attention_mask"]
        return _vectors(self.spec, answer, mask, files)

    def _found(self) -> OnnxFiles:
        with self._finding:
            if self._files is None:
                self._files = find_onnx(self.spec, self._folder)
            return self._files

    def _model(self) -> _Loaded:
        # Only ever called in the one thread.
        if self._loaded is None:
            self._loaded = _load(self.spec, self._found(), self._workers)
        return self._loaded


def _tokens(tokenizer: "Tokenizer", texts: list[str]) -> list[list[int]]:
    # Lone halves of surrogate pairs, which some files hold, are no text to a tokenizer.
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch(clean)]


def _feeds(rows: list[list[int]], pad_id: int, inputs: frozenset[str]) -> Mapping[str, Tokens]:
    """Lay rows of tokens out as one rectangle, with the mask that says which of it counts."""
    width = max(1, *map(len, rows)) if rows else 1
    ids = np.full((len(rows), width), pad_id, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    places = np.broadcast_to(np.arange(width), ids.shape)
    known = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(ids),
        "position_ids": np.ascontiguousarray(places),
    }
    return {name: known[name] for name in {*inputs, "attention_mask"}}


def _vectors(spec: str, answer: Any, mask: Tokens, files: OnnxFiles) -> Matrix:
    """Pool token vectors (n, tokens, d) into (n, d); of the mask, 1 counts."""
    if not isinstance(answer, np.ndarray) or answer.ndim != 3:  # noqa: PLR2004 - texts, tokens, dimensions
        raise EmbedderResponseError(f"{spec}: its first output is no vectors of tokens")
    states = answer.astype(np.float32, copy=False)
    if files.pooling == "cls":
        pooled = states[:, 0]
    else:
        weights = mask[:, :, None].astype(np.float32)
        pooled = (states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), _SHORTEST)
    if files.normalise:
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        pooled = pooled / np.maximum(lengths, _SHORTEST)
    vectors: Matrix = np.ascontiguousarray(pooled, np.float32)
    return vectors


def _load(spec: str, files: OnnxFiles, threads: int) -> _Loaded:
    # Otherwise the runtime announces itself to its makers on some systems.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait by turning in circles take the cores from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        tokenizer = Tokenizer.from_file(str(files.tokenizer))
        session = onnxruntime.InferenceSession(
            str(files.model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:
        # Both raise bare Exception, among others, for a damaged file.
        raise ConfigurationError(f"{spec}: cannot be loaded: {_first_line(exc)}") from exc
    tokenizer.no_padding()
    if files.max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(files.max_tokens)
    inputs = frozenset(each.name for each in session.get_inputs())
    unknown = inputs - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
    if unknown or not {"input_ids", "attention_mask"} <= inputs:
        raise ConfigurationError(
            f"{spec}: {files.model.name} wants {', '.join(sorted(inputs))}; a model of texts wants "
            "input_ids and attention_mask, and may want token_type_ids and position_ids"
        )
    return _Loaded(session=session, tokenizer=tokenizer, inputs=inputs)


def _folder(name: str) -> Path:
    if not name:
        raise ConfigurationError(f"the embedder names no folder: write {PROVIDER}:FOLDER")
    path = Path(name).expanduser()
    if not path.is_dir():
        reason = "is a file, not the folder of a model" if path.exists() else "no such folder"
        raise ConfigurationError(f"{PROVIDER}:{name}: {reason}")
    # A collection remembers the spec and may be used from another working directory.
    return path.absolute()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _require_packages() -> None:
    # Not by importing them: that takes a while.
    for name in ("onnxruntime", "tokenizers"):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                f"embedders {PROVIDER}:FOLDER need the package {name}: {INSTALL}"
            )
