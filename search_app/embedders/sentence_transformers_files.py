"""Where a sentence-transformers model lies on disk, and what its own files say of it.

Nothing here loads the model or imports torch.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from search_app.errors import ConfigurationError, EmbedderUnavailableError
from search_app.types import Kind

log = logging.getLogger(__name__)

_ORGANISATION = "sentence-transformers"
_PROMPT_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}
"""Names under which models keep their prompts, the library's own first."""
_SIGNS = ("modules.json", "config.json")
_WEIGHTS = (".safetensors", ".bin")
_TOKENIZERS = (".json", ".txt", ".model")
# The same weights once more, for other engines, and what only people read.
_OTHER_ENGINES = ("onnx", "openvino", "coreml")
_WANTED = [f"*{suffix}" for suffix in (".safetensors", *_TOKENIZERS)]
_UNWANTED = [f"{folder}/*" for folder in _OTHER_ENGINES]
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


def find_files(name: str, cache_dir: Path | None) -> ModelFiles:
    """Find a model: in its folder, among those fetched before, and only then on the Hub.

    What was fetched once is never fetched again, so that a name does not change its weights unseen.

    Raises:
        ConfigurationError: there is no such folder, or it holds no model.
        EmbedderUnavailableError: a name that is not on this machine and cannot be fetched.
    """
    folder = folder_of(name) or _fetched(name, cache_dir)
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

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = folder / "config_sentence_transformers.json"
    try:
        settings = json.loads(path.read_bytes()) if path.is_file() else {}
        known = settings.get("prompts") or {}
        return {
            kind: next((known[n] for n in names if isinstance(known.get(n), str)), "")
            for kind, names in _PROMPT_NAMES.items()
        }
    except (ValueError, AttributeError) as exc:
        raise ConfigurationError(f"{spec}: {path.name} cannot be read: {exc}") from exc


def _fetched(name: str, cache_dir: Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = name if "/" in name else f"{_ORGANISATION}/{name}"
    try:
        return Path(snapshot_download(repository, cache_dir=cache_dir, local_files_only=True))
    except LocalEntryNotFoundError:
        return _fetch(name, repository, cache_dir)
    except ValueError as exc:
        raise ConfigurationError(
            f"sentence-transformers:{name}: neither a folder nor a name of the Hugging Face Hub"
        ) from exc


def _fetch(name: str, repository: str, cache_dir: Path | None) -> Path:
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars

    offline = huggingface_hub.constants.HF_HUB_OFFLINE
    if not offline:
        log.warning("fetching %s from the Hugging Face Hub", repository)
    disable_progress_bars()
    # Otherwise it also tells the versions of other packages, and what kind of program calls it.
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True

    def fetch(patterns: list[str]) -> Path:
        got = huggingface_hub.snapshot_download(
            repository,
            cache_dir=cache_dir,
            allow_patterns=patterns,
            ignore_patterns=_UNWANTED,
        )
        return Path(got)

    try:
        folder = fetch(_WANTED)
        if not any(folder.rglob("*.safetensors")):
            folder = fetch([*_WANTED, "*.bin"])
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
