"""Quantiles of a sample, one rule for every table and figure."""

from __future__ import annotations

from typing import Any

QUANTILE_METHOD = "linear"
"""numpy's default: between the two order statistics that the rank falls between (Hyndman and Fan 1996, type 7)."""

Spread = dict[str, float | int | None]
"""n, mean, min, p50, p95, p99, max; all but n are None for an empty sample."""


def spread(values: Any) -> Spread:
    """The figures by which a sample is reported, rounded to a microsecond where the values are milliseconds."""
    import numpy as np

    sample = values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=float)
    if not sample.size:
        return {"n": 0, "mean": None, "min": None, "p50": None, "p95": None, "p99": None, "max": None}
    p50, p95, p99 = np.percentile(sample, [50, 95, 99], method="linear")
    named = {"mean": sample.mean(), "min": sample.min(), "p50": p50, "p95": p95, "p99": p99, "max": sample.max()}
    return {"n": int(sample.size), **{name: round(float(value), 3) for name, value in named.items()}}
