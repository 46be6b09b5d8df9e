"""What a run costs on AWS, by the price list of a stated day."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from preheat.analysis.server_log import or_zero
from preheat.analysis.study import Study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MILLION = 1e6


def price_list() -> dict[str, Any]:
    """`prices/*.json`, the newest: US dollars, with the day, and for each part the page it was taken from."""
    newest = max(path.name for path in files("preheat.analysis").joinpath("prices").iterdir())
    text = files("preheat.analysis").joinpath("prices", newest).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def tiered(amount: float, tiers: Sequence[Mapping[str, Any]]) -> float:
    """US dollars for an amount in a month, each tier's share at its own price."""
    total, below = 0.0, 0.0
    for tier in tiers:
        end = amount if tier["up_to"] is None else min(amount, tier["up_to"])
        total += max(end - below, 0.0) * tier["usd"]
        below = max(end, below)
    return total


@dataclass(frozen=True, slots=True)
class _Billed:
    """Columns, one element for each invocation that the server tells of. `is_provisioned`: in an environment of
    provisioned concurrency, whose duration has a price of its own."""

    billed_ms: Floats
    init_ms: Floats
    memory_mb: Floats
    is_provisioned: NDArray[np.bool_]
    restores: int
    initialisation_added: bool = False
    """The lines are from before AWS billed initialisation; it was added to them."""

    def gb_s(self, lengths_ms: Floats) -> Floats:
        return lengths_ms * self.memory_mb / 1000 / 1024


def costs(study: Study) -> dict[str, Any] | None:
    """US dollars per million requests at this run's mix, as the first million of a month and without free tier; None
    where billed time or memory is not known.

    Duration is `Billed Duration` times memory, initialisation included as AWS bills it since August 2025 (lines of
    before have it added). With provisioned environments their price for the run's time is in it, with SnapStart that of
    its restores. API Gateway is a REST API's; `http_api_million_usd` is what an HTTP API would cost instead.
    """
    billed = _billed(study)
    if billed is None:
        return None
    prices, info = price_list(), study.folder.info
    architecture = "arm64" if info.get("architecture") == "arm64" else "x86_64"
    scale = _MILLION / len(billed.billed_ms)
    memory_gb = float(billed.memory_mb.mean()) / 1024
    parts = {
        **_duration(billed, prices, architecture, scale),
        "requests": prices["lambda_million_requests"],
        "api_gateway": tiered(1, _millions(prices["rest_api_million_requests"])),
        "restores": billed.restores * memory_gb * prices["snap_start_restore_gb"] * scale,
    }
    capacity_gb_s = int(info.get("provisioned") or 0) * memory_gb * study.span_s
    parts["provisioned"] = capacity_gb_s * prices["provisioned_gb_second"][architecture] * scale
    total = sum(value for name, value in parts.items() if name != "of_it_initialisation")
    hour_gb_s = memory_gb * 3600
    return {
        "per_million_requests_usd": round(total, 4),
        "parts_usd": {name: round(value, 4) for name, value in parts.items()},
        "http_api_million_usd": tiered(1, _millions(prices["http_api_million_requests"])),
        "one_provisioned_environment_hour_usd": round(hour_gb_s * prices["provisioned_gb_second"][architecture], 5),
        "one_snapshot_hour_usd": round(hour_gb_s * prices["snap_start_cache_gb_second"], 5),
        "invocations": len(billed.billed_ms),
        "architecture": architecture,
        "initialisation_added": billed.initialisation_added,
        "prices_of": prices["day"],
        "region": prices["region"],
    }


def _millions(tiers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tiers of requests with their limits in millions, as their prices are."""
    return [{**tier, "up_to": tier["up_to"] and tier["up_to"] / _MILLION} for tier in tiers]


def _duration(billed: _Billed, prices: Mapping[str, Any], architecture: str, scale: float) -> dict[str, float]:
    gb_s, init_gb_s = billed.gb_s(billed.billed_ms), billed.gb_s(billed.init_ms)
    on_demand = ~billed.is_provisioned
    demand_gb_s = float(gb_s[on_demand].sum()) * scale
    demand_usd = tiered(demand_gb_s, prices["lambda_gb_second"][architecture])
    kept_usd = float(gb_s[billed.is_provisioned].sum()) * scale * prices["provisioned_duration_gb_second"][architecture]
    share = float(init_gb_s[on_demand].sum()) * scale / demand_gb_s if demand_gb_s else 0.0
    return {"duration": demand_usd + kept_usd, "of_it_initialisation": demand_usd * share}


def _billed(study: Study) -> _Billed | None:
    import numpy as np

    if study.folder.journal is not None:
        records = study.folder.journal.invocations
        rows = np.array([(r.billed_ms, r.init_ms or 0.0, r.memory_mb) for r in records], dtype=float).reshape(-1, 3)
        kept = np.array([r.init_type == "provisioned-concurrency" for r in records], dtype=bool)
        restores = sum(r.restore_ms is not None for r in records)
        return _Billed(rows[:, 0], rows[:, 1], rows[:, 2], kept, restores) if len(rows) else None
    log = study.log
    if log is None or not len(log) or bool(np.isnan(log.billed_ms).any() or np.isnan(log.memory_mb).any()):
        return None
    init_ms = or_zero(log.init_ms)
    # Figures are rounded to 0.01 ms, so that the sum may end a hair above a whole millisecond.
    now_ms = np.maximum(log.billed_ms, np.ceil(log.duration_ms + init_ms - 0.02))
    added = bool((now_ms[init_ms > 0] > log.billed_ms[init_ms > 0] + 1).any())
    nobody = np.zeros(len(log), dtype=bool)
    restores = int((~np.isnan(log.restore_ms)).sum())
    return _Billed(now_ms if added else log.billed_ms, init_ms, log.memory_mb, nobody, restores, added)
