"""What a determinism study is asked for: models with options, and noise."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_app.config import Settings
from search_app.errors import InvalidInputError

PUBLISHED: Mapping[float, float] = {0.996406: 0.7968, 0.994344: 0.7846, 0.999878: 0.9862}
"""Lowest cosine and ARI of the three models in the published experiment."""

_OPTION = re.compile(r"(?:^|\s+)(batch|order)=(\S+)$")
_BATCH_SETTINGS = {
    "sentence-transformers": "sentence_transformers_batch_size",
    "onnx": "onnx_batch_size",
    "openai": "openai_batch_size",
}
_MOST = 2048


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model that embeds every text twice.

    ``batches`` are the sizes at the first and the second time, None where the settings say.
    ``shuffled`` sends the texts in another order the second time.
    """

    name: str
    spec: str
    batches: tuple[int | None, int | None] = (None, None)
    shuffled: bool = False

    def settings(self, settings: Settings, turn: int) -> Settings:
        """Give the settings that the embedder of the first (0) or second (1) turn is made with."""
        size = self.batches[turn]
        if size is None:
            return settings
        field = _BATCH_SETTINGS[self.spec.partition(":")[0]]
        return settings.model_copy(update={field: size})


@dataclass(frozen=True, kw_only=True)
class NoiseRow:
    """Noise on the vectors of a model: on ``share`` of them, the worst at cosine ``lowest``."""

    lowest: float
    share: float

    @property
    def name(self) -> str:
        """The row as the table calls it."""
        return (
            f"noise, {'every text' if self.share == 1 else f'{100 * self.share:g} % of the texts'}"
        )


def model_row(written: str) -> ModelRow:
    """Read ``SPEC [batch=N[,M]] [order=shuffled]``.

    Raises:
        InvalidInputError: an option that is not known, or that this embedder has not.
    """
    spec, options = written.strip(), {}
    while found := _OPTION.search(spec):
        options[found[1]] = found[2]
        spec = spec[: found.start()]
    if not spec:
        raise InvalidInputError(f"--models {written!r}: names no embedder")
    if options.get("order", "shuffled") != "shuffled":
        raise InvalidInputError(f"--models {written!r}: order can only be shuffled")
    return ModelRow(
        name=_name(written.strip(), spec),
        spec=spec,
        batches=_batches(written, spec, options.get("batch")),
        shuffled="order" in options,
    )


def noise_row(written: str) -> NoiseRow:
    """Read ``COSINE[@SHARE]``, where a share may end in %.

    Raises:
        InvalidInputError: no such numbers.
    """
    lowest, _, share = written.strip().partition("@")
    try:
        scale = 100 if share.endswith("%") else 1
        row = NoiseRow(
            lowest=float(lowest), share=float(share.removesuffix("%")) / scale if share else 1.0
        )
    except ValueError as exc:
        raise InvalidInputError(
            f"--noise {written!r}: write the lowest cosine and, if not every text shall move, a "
            "share, such as 0.9964 or 0.9964@5%"
        ) from exc
    if not 0 < row.lowest < 1 or not 0 < row.share <= 1:
        raise InvalidInputError(
            f"--noise {written!r}: the cosine lies between 0 and 1, the share above 0 and at most 1"
        )
    return row


def _name(written: str, spec: str) -> str:
    """Give what was written, of a path its last part: a table is no place for folders."""
    provider, _, argument = spec.partition(":")
    path = Path(argument).expanduser()
    short = f"{provider}:{path.name}" if argument and path.is_dir() else spec
    return short + written.removeprefix(spec)


def _batches(written: str, spec: str, given: str | None) -> tuple[int | None, int | None]:
    if given is None:
        return (None, None)
    provider = spec.partition(":")[0]
    if provider not in _BATCH_SETTINGS:
        raise InvalidInputError(
            f"--models {written!r}: {provider} has no size of batches; "
            f"{', '.join(_BATCH_SETTINGS)} have"
        )
    parts = given.split(",")
    if len(parts) > 2 or not all(_is_size(each) for each in parts):  # noqa: PLR2004 - two turns
        raise InvalidInputError(
            f"--models {written!r}: batch is one number from 1 to {_MOST}, or two with a comma"
        )
    return int(parts[0]), int(parts[-1])


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST
