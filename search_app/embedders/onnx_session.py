"""How ONNX Runtime is set up here, for the bundled model and for those that users export."""

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

_ERRORS_ONLY = 3

SLOWER = ("SkipLayerNormFusion",)
"""Optimisations that are left out: the fused operator sums one number after the other, and without
it a run is 10 % faster."""


def session_options(threads: int) -> "onnxruntime.SessionOptions":
    """Give the options of a session whose runs take so many threads; 0: one for each core.

    One thread a run makes a vector independent of the number of threads; several cores are then
    used by running several texts at once.
    """
    # It reports its use to its maker unless told not to before it is imported. Nothing that this
    # product does is anybody else's business.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait by turning in circles take the cores from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """List what ONNX Runtime raises; its own classes share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type)]
    return (RuntimeError, *(value for value in own if issubclass(value, Exception)))


def available_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
