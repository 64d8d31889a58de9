"""What a folder with an ONNX model says of itself: files, tokens, pooling, prompts.

The layout is that of sentence-transformers, so that exported folders work as they are. Nothing here
loads the model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from search_app.embedders.sentence_transformers_files import prompts_of
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

Pooling = Literal["mean", "cls"]

_MODELS = ("model.onnx", "onnx/model.onnx")
_TOKENIZER = "tokenizer.json"
_MODULES = "modules.json"
_SETTINGS = (
    _MODULES,
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    _TOKENIZER,
    "tokenizer_config.json",
)
_POOLING_KEYS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}
_UNLIMITED = 1_000_000
_REVISION_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class OnnxFiles:
    """A model on disk and how its vectors come about.

    ``max_tokens`` counts the marks that the tokenizer adds. ``pad_id`` fills up the shorter texts
    of a batch; the attention mask hides it. ``lower`` says that texts are lower-cased first.
    """

    folder: Path
    model: Path
    tokenizer: Path
    pooling: Pooling
    normalise: bool
    lower: bool
    max_tokens: int | None
    pad_id: int
    prompts: Mapping[Kind, str]


def find_onnx(spec: str, folder: Path) -> OnnxFiles:
    """Read what lies in a folder.

    Raises:
        ConfigurationError: no model or tokenizer, a file that cannot be read, or a module that this
            does not compute; names the file.
    """
    model = next((folder / name for name in _MODELS if (folder / name).is_file()), None)
    if model is None:
        raise ConfigurationError(
            f"{spec}: no model: the folder holds neither {' nor '.join(_MODELS)}"
        )
    for name in (_TOKENIZER, _MODULES):
        if not (folder / name).is_file():
            raise ConfigurationError(f"{spec}: the folder holds no {name}")
    pooling, normalise = _modules(spec, folder)
    settings = _read(spec, folder / "sentence_bert_config.json")
    tokenizer = _read(spec, folder / _TOKENIZER)
    return OnnxFiles(
        folder=folder,
        model=model,
        tokenizer=folder / _TOKENIZER,
        pooling=pooling,
        normalise=normalise,
        lower=settings.get("do_lower_case") is True,
        max_tokens=_max_tokens(spec, folder, settings, tokenizer),
        pad_id=_pad_id(spec, folder, tokenizer),
        prompts=prompts_of(spec, folder),
    )


def revision_of(files: OnnxFiles) -> str:
    """Hash the graph, its weights, the tokenizer and every setting: other files, other revision."""
    digest = sha256()
    for path in _defining(files):
        digest.update(path.relative_to(files.folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    return digest.hexdigest()[:_REVISION_LENGTH]


def _defining(files: OnnxFiles) -> Iterator[Path]:
    # Weights of large models lie beside the graph: model.onnx_data, model.onnx.data.
    yield from sorted(files.model.parent.glob(f"{files.model.name}*"))
    for name in _SETTINGS:
        if (files.folder / name).is_file():
            yield files.folder / name
    yield from sorted(files.folder.glob("*_Pooling/config.json"))


def _modules(spec: str, folder: Path) -> tuple[Pooling, bool]:
    """Give how token vectors become one, and whether it is brought to length 1."""
    pooling: Pooling | None = None
    normalise = False
    modules = _read(spec, folder / _MODULES, kind=list)
    for module in modules:
        name = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        match name:
            case "Transformer":
                continue
            case "Pooling":
                pooling = _pooling(spec, folder / str(module.get("path", "")) / "config.json")
            case "Normalize":
                normalise = True
            case _:
                raise ConfigurationError(
                    f"{spec}: {_MODULES} holds {name or 'no type'}; only Transformer, Pooling and "
                    "Normalize are computed here"
                )
    if pooling is None:
        raise ConfigurationError(f"{spec}: {_MODULES} names no Pooling")
    return pooling, normalise


def _pooling(spec: str, path: Path) -> Pooling:
    settings = _read(spec, path)
    # One key since version 5.4 of the library, one for each way before.
    known = settings.get("pooling_mode")
    ways = [known] if isinstance(known, str) else list(known or ())
    ways += [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    match [_POOLING_KEYS.get(way, way) for way in ways]:
        case ["mean"]:
            return "mean"
        case ["cls"]:
            return "cls"
        case others:
            raise ConfigurationError(
                f"{spec}: {path.parent.name}/{path.name} pools by {', '.join(map(str, others))}; "
                "only mean or cls alone are computed here"
            )


def _max_tokens(
    spec: str, folder: Path, settings: Mapping[str, JSON], tokenizer: Mapping[str, JSON]
) -> int | None:
    truncation = tokenizer.get("truncation")
    known = (
        settings.get("max_seq_length"),
        _read(spec, folder / "tokenizer_config.json").get("model_max_length"),
        truncation.get("max_length") if isinstance(truncation, dict) else None,
        _read(spec, folder / "config.json").get("max_position_embeddings"),
    )
    # Tokenizers without a limit say 10^30.
    usable = (each for each in known if isinstance(each, int) and 0 < each < _UNLIMITED)
    return next(usable, None)


def _pad_id(spec: str, folder: Path, tokenizer: Mapping[str, JSON]) -> int:
    padding = tokenizer.get("padding")
    if isinstance(padding, dict) and isinstance(padding.get("pad_id"), int):
        return int(padding["pad_id"])
    known = _read(spec, folder / "config.json").get("pad_token_id")
    return known if isinstance(known, int) else 0


def _read(spec: str, path: Path, *, kind: type = dict) -> JSON:
    """Read a file of settings; one that is not there sets nothing."""
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else kind()
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{spec}: {path.name} cannot be read: {exc}") from exc
    if not isinstance(found, kind):
        raise ConfigurationError(f"{spec}: {path.name} cannot be read: no {kind.__name__}")
    return found
