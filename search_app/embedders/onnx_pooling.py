"""From the vectors of a text's tokens to the vector of the text."""

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.onnx_files import Pooling
from search_app.errors import ConfigurationError
from search_app.types import Matrix

_SHORTEST = 1e-12
"""What sums and lengths are kept above before something is divided by them."""

_FAR_BELOW = np.float32(-1e9)


def pooled(
    answer: NDArray[np.floating],
    mask: NDArray[np.int64],
    pooling: Pooling,
    *,
    unit: bool,
) -> Matrix:
    """Pool token vectors (n, tokens, d) into (n, d) float32; of the mask (n, tokens), 1 counts.

    The ways are those of sentence-transformers. ``unit`` brings the result to length 1.
    """
    states = answer.astype(np.float32, copy=False)
    weights = mask[:, :, None].astype(np.float32)
    counts = weights.sum(axis=1)
    match pooling:
        case "cls":
            vectors = states[:, 0]
        case "lasttoken":
            last = np.maximum(mask.sum(axis=1) - 1, 0)
            vectors = states[np.arange(len(states)), last]
        case "max":
            vectors = np.where(weights > 0, states, _FAR_BELOW).max(axis=1)
        case "mean":
            vectors = (states * weights).sum(axis=1) / np.maximum(counts, _SHORTEST)
        case "mean_sqrt_len":
            vectors = (states * weights).sum(axis=1) / np.sqrt(np.maximum(counts, _SHORTEST))
        case "weightedmean":
            # Later tokens of a model that only looks back know more (Muennighoff, 2022).
            places = np.arange(1, states.shape[1] + 1, dtype=np.float32)[None, :, None]
            weights = weights * places
            total = np.maximum(weights.sum(axis=1), _SHORTEST)
            vectors = (states * weights).sum(axis=1) / total
    return _of_length_1(vectors) if unit else np.ascontiguousarray(vectors, np.float32)


def shortened(spec: str, vectors: Matrix, dimensions: int | None) -> Matrix:
    """Keep the first ``dimensions`` numbers of each vector and bring it to length 1 again.

    None keeps vectors as they are.

    Raises:
        ConfigurationError: the model has fewer.
    """
    if dimensions is None:
        return vectors
    if dimensions > vectors.shape[1]:
        raise ConfigurationError(
            f"{spec}: the model has {vectors.shape[1]} dimensions, which is fewer"
        )
    return _of_length_1(vectors[:, :dimensions])


def _of_length_1(vectors: NDArray[np.floating]) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Matrix = np.ascontiguousarray(vectors / np.maximum(lengths, _SHORTEST), np.float32)
    return unit
