"""What a run costs on AWS, by the price list of a stated day."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from preheat.analysis.study import Study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def price_list() -> dict[str, Any]:
    """`prices/*.json`, the newest: US dollars, with the day and the pages they were taken from."""
    newest = max(path.name for path in files("preheat.analysis").joinpath("prices").iterdir())
    text = files("preheat.analysis").joinpath("prices", newest).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def costs(study: Study) -> dict[str, Any] | None:
    """US dollars per million requests at this run's mix; None where billed time or memory is not known.

    Duration is `Billed Duration` (initialisation included, as AWS bills since August 2025) times memory.
    """
    billed_ms, memory_mb, init_ms = _billed(study)
    if not len(billed_ms):
        return None
    prices = price_list()
    count = len(billed_ms)
    million = 1e6 / count
    gb_s = float((billed_ms * memory_mb).sum()) / 1000 / 1024
    init_gb_s = float((init_ms * memory_mb).sum()) / 1000 / 1024
    duration = gb_s * prices["lambda_gb_second"] * million
    parts = {
        "duration": duration,
        "of_it_initialisation": init_gb_s * prices["lambda_gb_second"] * million,
        "requests": prices["lambda_million_requests"],
        "api_gateway": prices["rest_api_million_requests"],
    }
    total = duration + prices["lambda_million_requests"] + prices["rest_api_million_requests"]
    gb = float(memory_mb.mean()) / 1024
    return {
        "per_million_requests_usd": round(total, 4),
        "parts_usd": {name: round(value, 4) for name, value in parts.items()},
        "one_provisioned_environment_hour_usd": round(gb * 3600 * prices["provisioned_gb_second"], 5),
        "prices_of": prices["day"],
        "region": prices["region"],
    }


def _billed(study: Study) -> tuple[Floats, Floats, Floats]:
    """(billed ms, memory MB, ms of initialisation) of every invocation that the server tells of."""
    import numpy as np

    nothing = np.empty(0)
    if study.folder.journal is not None:
        records = study.folder.journal.invocations
        rows = np.array([(r.billed_ms, r.memory_mb, r.init_ms or 0.0) for r in records], dtype=float).reshape(-1, 3)
        return rows[:, 0], rows[:, 1], rows[:, 2]
    log = study.log
    if log is None or bool(np.isnan(log.billed_ms).any() or np.isnan(log.memory_mb).any()):
        return nothing, nothing, nothing
    return log.billed_ms, log.memory_mb, np.nan_to_num(log.init_ms)
