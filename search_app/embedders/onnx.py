"""Any sentence model that was exported to ONNX, run in this process without torch."""

import asyncio
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.base import Embedder, Limits
from search_app.embedders.batching import check_request
from search_app.embedders.onnx_files import OnnxFiles, find_onnx, max_tokens, revision_of
from search_app.embedders.onnx_pooling import pooled, shortened
from search_app.embedders.onnx_session import SLOWER, available_cores, session_options
from search_app.errors import (
    ConfigurationError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import JSON, Kind, Matrix, ModelIdentity

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

PROVIDER = "onnx"
LIBRARIES = ("onnxruntime", "tokenizers", "numpy")
INSTALL = "pip install 'unmoved[onnx]'"
PROBE = "dimensions"
"""The text embedded to see how long vectors are."""

_ALONE = 16
"""Texts of a call that are each run by itself."""

_OF_TOKENS = ("last_hidden_state", "token_embeddings")
"""What exporters call the output that holds the vectors of tokens; else it is the first."""

Tokens = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    session: Any
    tokenizer: "Tokenizer"
    inputs: frozenset[str]
    output: str


class OnnxEmbedder(Embedder):
    """Embeds with a folder of model.onnx, tokenizer.json and the settings of sentence-transformers.

    With ``batch_size`` 1 each text is a run of its own in one of ``threads`` threads (0: one for
    each core this process may use), as the bundled model does it: a vector depends on its text
    alone. With more, the texts of a call are one batch, in their order, filled up to the longest,
    and its run takes all the threads; what that does to a vector is the model's own doing: a
    dynamically quantised one scales its numbers by all that it is given at once.

    ``dimensions`` keeps the first so many numbers of each vector and brings it to length 1 again,
    for models that were trained for that (Kusupati et al., NeurIPS 2022). The model is loaded at
    the first text. Of a longer text than the model reads, its beginning counts.

    Raises:
        ConfigurationError: no folder is named, it is not there, or a package is missing.
    """

    provider = PROVIDER
    not_guaranteed = (
        "The same vectors on another machine or with another version of ONNX Runtime: last bits "
        "differ. With texts in batches a vector may depend on its company."
    )

    def __init__(
        self,
        folder: str,
        *,
        batch_size: int = 1,
        threads: int = 0,
        dimensions: int | None = None,
    ) -> None:
        self._name = self._checked(folder.strip())
        self.spec = f"{self.provider}:{self._name}"
        if dimensions is not None:
            self.spec += f"?dimensions={dimensions}"
        threads = threads or available_cores()
        alone = batch_size == 1
        self.batch_size = _ALONE if alone else batch_size
        # One call waits while another runs, so that no thread idles where two calls meet.
        self.concurrency = 1 + -(-threads // _ALONE) if alone else 2
        self._together = batch_size
        self._dimensions = dimensions
        self._runs_of = 1 if alone else threads
        self._files: OnnxFiles | None = None
        self._loaded: _Loaded | None = None
        self._finding = threading.Lock()
        self._loading = threading.Lock()
        self._threads = ThreadPoolExecutor(threads if alone else 1, thread_name_prefix="embed")
        if dimensions is not None:
            self.unit = True
        folder_now = self._at_hand()
        if folder_now is not None:
            # What is wrong with the folder is said when it is used.
            with suppress(ConfigurationError):
                self.limits = Limits(text_tokens=max_tokens(self.spec, folder_now))

    async def describe(self) -> ModelIdentity:
        """Load the model and say what it is: its files by their hash, its dimensions by a text.

        Raises:
            ConfigurationError: the folder holds no model that can be loaded.
            EmbedderUnavailableError: ONNX Runtime failed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._describe)

    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` texts.

        Raises:
            ValueError: no text, too many, or an empty one.
            ConfigurationError, EmbedderUnavailableError: as ``describe``.
            EmbedderResponseError: the model makes no vectors of tokens.
        """
        check_request(texts, self.batch_size)
        loop = asyncio.get_running_loop()
        batches = [[text] for text in texts] if self._together == 1 else [list(texts)]
        return np.concatenate(
            await asyncio.gather(
                *(loop.run_in_executor(self._threads, self._encode, each, kind) for each in batches)
            )
        )

    def text_sent(self, text: str, kind: Kind) -> str:
        """Put the model's own prompt for this kind before a text.

        Raises:
            ConfigurationError: the model's files cannot be read.
        """
        return self._found().prompts.get(kind, "") + text

    def count_tokens(self, text: str, kind: Kind) -> int:
        """Count what is sent, marks included, by the model's own tokenizer; loads the model.

        Raises:
            ConfigurationError: the folder holds no model that can be loaded.
        """
        (encoding,) = _encodings(self._model().tokenizer, self._sent([text], kind))
        rest = (len(part.ids) - sum(part.special_tokens_mask) for part in encoding.overflowing)
        return len(encoding.ids) + sum(rest)

    async def aclose(self) -> None:
        """End the threads once their texts are done, and let go of the model."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._loaded = None

    def _checked(self, name: str) -> str:
        """Check what a user names, before anything is looked for."""
        require_packages(f"{PROVIDER}:FOLDER")
        return str(_folder(name))

    def _at_hand(self) -> Path | None:
        """Give the folder of the model if it can be had without looking far."""
        return Path(self._name)

    def _locate(self) -> Path:
        """Find the folder of the model."""
        return Path(self._name)

    def _model_name(self, files: OnnxFiles) -> str:
        return files.folder.name

    def _more_settings(self) -> Mapping[str, JSON]:
        """Give what else changes vectors."""
        return {}

    def _describe(self) -> ModelIdentity:
        vectors = self._encode([PROBE], "document")
        files = self._found()
        settings: dict[str, JSON] = {
            **self._more_settings(),
            "batch_size": self._together,
            "pooling": files.pooling,
            "normalise": files.normalise,
        }
        if self._dimensions is not None:
            settings["dimensions"] = self._dimensions
        return ModelIdentity(
            provider=self.provider,
            model=self._model_name(files),
            revision=revision_of(files),
            dimensions=vectors.shape[1],
            max_tokens=files.max_tokens,
            document_prefix=files.prompts["document"],
            query_prefix=files.prompts["query"],
            settings=settings,
            library_versions={name: metadata.version(name) for name in LIBRARIES},
        )

    def _sent(self, texts: list[str], kind: Kind) -> list[str]:
        sent = [self.text_sent(text, kind) for text in texts]
        return [text.lower() for text in sent] if self._found().lower else sent

    def _encode(self, texts: list[str], kind: Kind) -> Matrix:
        loaded, files = self._model(), self._found()
        given = [each.ids for each in _encodings(loaded.tokenizer, self._sent(texts, kind))]
        feeds = _feeds(given, files.pad_id, loaded.inputs)
        try:
            (answer,) = loaded.session.run([loaded.output], feeds)
        except Exception as exc:
            # The runtime has a class of its own for each status.
            raise EmbedderUnavailableError(f"{self.spec}: {_first_line(exc)}") from exc
        if not isinstance(answer, np.ndarray) or answer.ndim != 3:  # noqa: PLR2004 - texts, tokens, dimensions
            raise EmbedderResponseError(
                f"{self.spec}: its output {loaded.output} is no vectors of tokens"
            )
        vectors = pooled(answer, feeds["attention_mask"], files.pooling, unit=files.normalise)
        return shortened(self.spec, vectors, self._dimensions)

    def _found(self) -> OnnxFiles:
        with self._finding:
            if self._files is None:
                self._files = find_onnx(self.spec, self._locate())
                self.limits = Limits(text_tokens=self._files.max_tokens)
                self.unit = self._files.normalise or self.unit
            return self._files

    def _model(self) -> _Loaded:
        files = self._found()
        with self._loading:
            if self._loaded is None:
                self._loaded = _load(self.spec, files, self._runs_of)
            return self._loaded


def _encodings(tokenizer: "Tokenizer", texts: list[str]) -> "list[Encoding]":
    # Lone halves of surrogate pairs, which some files hold, are no text to a tokenizer.
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    # One by one: of several at once it makes threads, of which there are enough here.
    return [tokenizer.encode(text) for text in clean]


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


def _load(spec: str, files: OnnxFiles, threads: int) -> _Loaded:
    options = session_options(threads)
    import onnxruntime
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(files.tokenizer))
        session = onnxruntime.InferenceSession(
            str(files.model),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(SLOWER),
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
    outputs = [each.name for each in session.get_outputs()]
    output = next((name for name in _OF_TOKENS if name in outputs), outputs[0])
    return _Loaded(session=session, tokenizer=tokenizer, inputs=inputs, output=output)


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


def require_packages(what: str) -> None:
    """Make sure that the packages are there, without importing them: that takes a while.

    Raises:
        ConfigurationError: one is missing; says how to install it.
    """
    for name in ("onnxruntime", "tokenizers"):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(f"embedders {what} need the package {name}: {INSTALL}")
