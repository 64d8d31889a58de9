"""What a folder with an ONNX model says of itself: files, tokens, pooling, prompts.

The layout is that of sentence-transformers, so that exported folders work as they are. Nothing here
loads the model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal, get_args

from search_app.embedders.sentence_transformers_files import ONNX_MODELS, prompts_of
from search_app.errors import ConfigurationError
from search_app.types import JSON, Kind

Pooling = Literal["mean", "cls", "max", "lasttoken", "mean_sqrt_len", "weightedmean"]

_TOKENIZER = "tokenizer.json"
_MODULES = "modules.json"
_LENGTHS = "sentence_bert_config.json"
_SETTINGS = (
    _MODULES,
    "config.json",
    "config_sentence_transformers.json",
    _LENGTHS,
    "special_tokens_map.json",
    _TOKENIZER,
    "tokenizer_config.json",
)
_POOLING_KEYS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_POOLINGS: Mapping[str, Pooling] = {way: way for way in get_args(Pooling)}
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
    model = next((folder / name for name in ONNX_MODELS if (folder / name).is_file()), None)
    if model is None:
        raise ConfigurationError(
            f"{spec}: no model: the folder holds neither {' nor '.join(ONNX_MODELS)}"
        )
    for name in (_TOKENIZER, _MODULES):
        if not (folder / name).is_file():
            raise ConfigurationError(f"{spec}: the folder holds no {name}")
    prompts = prompts_of(spec, folder)
    pooling, normalise = _modules(spec, folder, prompts)
    settings = _read(spec, folder / _LENGTHS)
    tokenizer = _read(spec, folder / _TOKENIZER)
    return OnnxFiles(
        folder=folder,
        model=model,
        tokenizer=folder / _TOKENIZER,
        pooling=pooling,
        normalise=normalise,
        lower=settings.get("do_lower_case") is True,
        max_tokens=max_tokens(spec, folder),
        pad_id=_pad_id(spec, folder, tokenizer),
        prompts=prompts,
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


def _modules(spec: str, folder: Path, prompts: Mapping[Kind, str]) -> tuple[Pooling, bool]:
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
                path = folder / str(module.get("path", "")) / "config.json"
                pooling = _pooling(spec, path, prompts)
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


def _pooling(spec: str, path: Path, prompts: Mapping[Kind, str]) -> Pooling:
    settings = _read(spec, path)
    # One key since version 5.4 of the library, one for each way before.
    known = settings.get("pooling_mode")
    ways = [known] if isinstance(known, str) else list(known or ())
    ways += [key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True]
    match [_POOLINGS.get(_POOLING_KEYS.get(way, way)) or way for way in ways]:
        case [way] if way in _POOLINGS:
            pooling = _POOLINGS[way]
        case others:
            named = ", ".join(map(str, others)) or "nothing"
            raise ConfigurationError(
                f"{spec}: {path.parent.name}/{path.name} pools by {named}; "
                f"only {', '.join(_POOLINGS)} are computed here, each alone"
            )
    if settings.get("include_prompt") is False and any(prompts.values()):
        raise ConfigurationError(
            f"{spec}: {path.parent.name}/{path.name} leaves prompts out of the pooling, which is "
            "not computed here"
        )
    return pooling


def max_tokens(spec: str, folder: Path) -> int | None:
    """Give the most tokens that a model reads, marks included; None where its files name none.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    for name, key in (
        (_LENGTHS, "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        (_TOKENIZER, "truncation"),
        ("config.json", "max_position_embeddings"),
    ):
        known = _read(spec, folder / name).get(key)
        if isinstance(known, dict):
            known = known.get("max_length")
        # Tokenizers without a limit say 10^30.
        if isinstance(known, int) and 0 < known < _UNLIMITED:
            return known
    return None


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
