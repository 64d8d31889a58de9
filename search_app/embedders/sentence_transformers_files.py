"""Where a sentence-transformers model lies on disk, and what its own files say of it.

Nothing here loads the model or imports torch.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from search_app.errors import ConfigurationError, EmbedderUnavailableError
from search_app.types import Kind

log = logging.getLogger(__name__)

Engine = Literal["torch", "onnx"]
"""What runs a model, and so which of its files are fetched."""

ONNX_MODELS = ("model.onnx", "onnx/model.onnx")
"""Where the ONNX file of a model lies."""

_ORGANISATION = "sentence-transformers"
_PROMPT_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "query": ("query", "search_query", "retrieval.query", "retrieval-query"),
    "document": (
        *("document", "passage", "corpus"),
        *("search_document", "retrieval.passage", "retrieval-document"),
    ),
    "clustering": ("clustering", "separation"),
    "classification": ("classification",),
    "similarity": ("similarity", "sts", "text-matching"),
    "code": ("code", "code_query", "nl2code_query", "code-query"),
}
"""Names under which models keep their prompts, the library's own first; in lower case."""
_SIGNS = ("modules.json", "config.json")
_WEIGHTS = (".safetensors", ".bin")
_TOKENIZERS = (".json", ".txt", ".model")
# The same weights once more, for other engines, and what only people read.
_OTHER_ENGINES = ("onnx", "openvino", "coreml")
_SETTINGS = [f"*{suffix}" for suffix in _TOKENIZERS]
_WANTED: Mapping[Engine, Sequence[str]] = {
    "torch": ["*.safetensors", *_SETTINGS],
    "onnx": [*ONNX_MODELS, *(f"{model}_data" for model in ONNX_MODELS), *_SETTINGS],
}
_UNWANTED: Mapping[Engine, Sequence[str]] = {
    "torch": [f"{folder}/*" for folder in _OTHER_ENGINES],
    "onnx": [f"{folder}/*" for folder in _OTHER_ENGINES if folder != "onnx"],
}
_REVISION_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model on disk and the text that it wants before a query and before a document."""

    folder: Path
    prompts: Mapping[Kind, str]


def folder_of(name: str) -> Path | None:
    """Give the folder that a name or path stands for, or None for a name of the Hub.

    Raises:
        ConfigurationError: it can only be a path, and there is no folder.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.absolute()
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.exists():
        reason = "is a file, not the folder of a model" if path.exists() else "no such folder"
        raise ConfigurationError(f"sentence-transformers:{name}: {reason}")
    return None


def find_files(name: str, cache_dir: Path | None, engine: Engine = "torch") -> ModelFiles:
    """Find a model: in its folder, among those fetched before, and only then on the Hub.

    What was fetched once is never fetched again, so that a name does not change its weights unseen.

    Raises:
        ConfigurationError: there is no such folder, or it holds no model.
        EmbedderUnavailableError: a name that is not on this machine and cannot be fetched.
    """
    folder = folder_of(name) or _fetched(name, cache_dir, engine)
    if not any((folder / sign).is_file() for sign in _SIGNS):
        raise ConfigurationError(
            f"sentence-transformers:{name}: no model: the folder holds neither {_SIGNS[0]} "
            f"nor {_SIGNS[1]}"
        )
    return ModelFiles(folder=folder, prompts=prompts_of(f"sentence-transformers:{name}", folder))


def revision_of(folder: Path) -> str:
    """Hash the weights, the tokenizer and every setting of a model: other files, other revision."""
    digest = sha256()
    for path in _defining(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()[:_REVISION_LENGTH]


def _defining(folder: Path) -> Iterator[Path]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    # Where both are there, the older form is not read.
    weights = ".safetensors" if any(p.suffix == ".safetensors" for p in paths) else ".bin"
    for path in paths:
        inner = path.relative_to(folder).parts[0]
        if inner not in _OTHER_ENGINES and path.suffix in (weights, *_TOKENIZERS):
            yield path


def prompts_of(spec: str, folder: Path) -> Mapping[Kind, str]:
    """Give the prompts that a folder names in config_sentence_transformers.json.

    A kind for which it names none has none, save for queries for source code: those are queries.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = folder / "config_sentence_transformers.json"
    try:
        settings = json.loads(path.read_bytes()) if path.is_file() else {}
        named = settings.get("prompts") or {}
        known = {name.lower(): text for name, text in named.items() if isinstance(text, str)}
    except (ValueError, AttributeError) as exc:
        raise ConfigurationError(f"{spec}: {path.name} cannot be read: {exc}") from exc
    prompts = {
        kind: next((known[name] for name in names if name in known), None)
        for kind, names in _PROMPT_NAMES.items()
    }
    if prompts["code"] is None:
        prompts["code"] = prompts["query"]
    return {kind: prompt or "" for kind, prompt in prompts.items()}


def _fetched(name: str, cache_dir: Path | None, engine: Engine) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = name if "/" in name else f"{_ORGANISATION}/{name}"
    try:
        found = Path(snapshot_download(repository, cache_dir=cache_dir, local_files_only=True))
    except LocalEntryNotFoundError:
        return _fetch(name, repository, cache_dir, engine)
    except ValueError as exc:
        raise ConfigurationError(
            f"sentence-transformers:{name}: neither a folder nor a name of the Hugging Face Hub"
        ) from exc
    if _has_weights(found, engine):
        return found
    # Fetched for the other engine: the same commit, so that both run the same model.
    return _fetch(name, repository, cache_dir, engine, commit=found.name)


def _has_weights(folder: Path, engine: Engine) -> bool:
    if engine == "onnx":
        return any((folder / model).is_file() for model in ONNX_MODELS)
    return any(path.suffix in _WEIGHTS for path in folder.rglob("*"))


def _fetch(
    name: str,
    repository: str,
    cache_dir: Path | None,
    engine: Engine,
    *,
    commit: str | None = None,
) -> Path:
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars

    offline = huggingface_hub.constants.HF_HUB_OFFLINE
    if not offline:
        log.warning("fetching %s from the Hugging Face Hub", repository)
    disable_progress_bars()
    # Otherwise it also tells the versions of other packages, and what kind of program calls it.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True

    def fetch(patterns: Sequence[str]) -> Path:
        got = huggingface_hub.snapshot_download(
            repository,
            revision=commit,
            cache_dir=cache_dir,
            allow_patterns=list(patterns),
            ignore_patterns=list(_UNWANTED[engine]),
        )
        return Path(got)

    try:
        folder = fetch(_WANTED[engine])
        if engine == "torch" and not any(folder.rglob("*.safetensors")):
            folder = fetch([*_WANTED[engine], "*.bin"])
    except Exception as exc:
        # The client raises those of its HTTP library, of the system and its own.
        why = "HF_HUB_OFFLINE is set" if offline else f"it cannot be fetched: {_first_line(exc)}"
        raise EmbedderUnavailableError(
            f"sentence-transformers:{name}: {repository} is not on this machine, and {why}; "
            "name a folder instead"
        ) from exc
    return folder


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
