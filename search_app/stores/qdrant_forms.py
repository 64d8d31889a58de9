"""What numbers Qdrant searches by, how it is told, and how much they take.

The float32 vectors are always there: Qdrant rescores by them itself where it quantises, and reads
them from disk then. Vectors that it keeps as float16 it keeps in no other form, so those are a
second vector of each point. Local mode takes all of that and searches the float32 ones exactly.
"""

from collections.abc import Mapping

from qdrant_client import models

from search_app.stores.base import StoreSize
from search_app.stores.qdrant_payload import DENSE, HALF
from search_app.types import Precision

PRECISIONS = (Precision.FLOAT32, Precision.FLOAT16, Precision.INT8, Precision.BINARY)

HNSW_LINKS = 16

_OVERSAMPLING: Mapping[Precision, float] = {Precision.INT8: 2.0, Precision.BINARY: 10.0}
"""How many times the points wanted are found by quantised vectors, and then rescored."""

_BITS: Mapping[Precision, int] = {
    Precision.FLOAT32: 32,
    Precision.FLOAT16: 16,
    Precision.INT8: 8,
    Precision.BINARY: 2,
}
_FLOAT_BYTES = 4
_LINK_BYTES = 4
_QUANTILE = 0.99
"""Share of an int8 vector's numbers that are told apart; the rest counts as the outermost."""


def vectors_for(dimensions: int, precision: Precision) -> Mapping[str, models.VectorParams]:
    """Describe the dense vectors of a new collection."""
    size, dot = dimensions, models.Distance.DOT
    match precision:
        case Precision.FLOAT32:
            return {DENSE: models.VectorParams(size=size, distance=dot)}
        case Precision.FLOAT16:
            half = models.VectorParams(size=size, distance=dot, datatype=models.Datatype.FLOAT16)
            # Without a graph of its own: it is only read to score what the other one found.
            none = models.HnswConfigDiff(m=0)
            dense = models.VectorParams(size=size, distance=dot, on_disk=True, hnsw_config=none)
            return {DENSE: dense, HALF: half}
    quantised = models.VectorParams(
        size=size, distance=dot, on_disk=True, quantization_config=_quantization(precision)
    )
    return {DENSE: quantised}


def _quantization(precision: Precision) -> models.QuantizationConfig:
    if precision is Precision.BINARY:
        # By one bit, which only says whether a number is above 0, 67 to 77 % of the true ten
        # nearest of the bundled model's vectors were found; two tell more, about the mean of each.
        two = models.BinaryQuantizationEncoding.TWO_BITS
        config = models.BinaryQuantizationConfig(always_ram=True, encoding=two)
        return models.BinaryQuantization(binary=config)
    return models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(
            type=models.ScalarType.INT8, quantile=_QUANTILE, always_ram=True
        )
    )


def precision_of(vectors: Mapping[str, models.VectorParams]) -> Precision:
    """Read back what ``vectors_for`` was asked for."""
    if HALF in vectors:
        return Precision.FLOAT16
    match vectors[DENSE].quantization_config:
        case models.BinaryQuantization():
            return Precision.BINARY
        case models.ScalarQuantization():
            return Precision.INT8
    return Precision.FLOAT32


def quantization_for(
    precision: Precision, *, exact: bool
) -> models.QuantizationSearchParams | None:
    """Say how quantised vectors take part in a search; None where there are none."""
    oversampling = _OVERSAMPLING.get(precision)
    if oversampling is None:
        return None
    if exact:
        return models.QuantizationSearchParams(ignore=True)
    return models.QuantizationSearchParams(ignore=False, rescore=True, oversampling=oversampling)


def reckoned(points: int, dimensions: int, precision: Precision) -> StoreSize:
    """Work out what vectors take at most, with a graph of 2 × ``HNSW_LINKS`` links a point."""
    vector = (_BITS[precision] * dimensions + 7) // 8
    searched = points * (vector + 2 * HNSW_LINKS * _LINK_BYTES)
    beside = 0 if precision is Precision.FLOAT32 else _FLOAT_BYTES * dimensions * points
    return StoreSize(searched=searched, whole=searched + beside, measured=False)
