"""What a run costs, by hand and by the price list, whose figures name where they were read."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import synthetic
from analysis_cases import Case

from preheat.analysis.costs import costs, price_list, tiered
from preheat.analysis.study import load_study


def test_costs_are_those_of_the_bill(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    found = costs(case.study)
    assert found is not None
    records = [record for record in case.run.journal if record["type"] == "invocation"]
    gb_s = sum(record["billed_ms"] * record["memory_mb"] for record in records) / 1000 / 1024
    expected = gb_s / len(records) * 1e6 * 0.0000166667
    assert found["parts_usd"]["duration"] == pytest.approx(expected, abs=1e-4)
    assert found["per_million_requests_usd"] == pytest.approx(expected + 0.20 + 3.50, abs=2e-4)
    assert found["prices_of"] == price_list()["day"]


def test_a_month_is_billed_tier_by_tier() -> None:
    prices = price_list()
    assert tiered(7e9, prices["lambda_gb_second"]["x86_64"]) == pytest.approx(6e9 * 0.0000166667 + 1e9 * 0.000015)
    assert tiered(20e9, prices["lambda_gb_second"]["arm64"]) == pytest.approx(
        7.5e9 * 0.0000133334 + 11.25e9 * 0.0000120001 + 1.25e9 * 0.0000106667
    )
    assert tiered(0, prices["lambda_gb_second"]["x86_64"]) == 0


def test_every_price_names_its_page_and_day() -> None:
    prices = price_list()
    for source in prices["sources"].values():
        assert source["address"].startswith("https://")
        assert date.fromisoformat(source["read_on"]) >= date.fromisoformat(prices["day"])
        assert source["how"]
    for name in ("lambda_gb_second", "provisioned_gb_second", "provisioned_duration_gb_second"):
        assert set(prices[name]) == {"x86_64", "arm64"}
    for tiers in (*prices["lambda_gb_second"].values(), prices["rest_api_million_requests"]):
        assert [tier["usd"] for tier in tiers] == sorted((tier["usd"] for tier in tiers), reverse=True)
        assert [tier["up_to"] is None for tier in tiers] == [False] * (len(tiers) - 1) + [True]


def test_arm_and_provisioned_environments_have_prices_of_their_own(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    for record in run.journal:
        if record["type"] == "invocation":
            record["init_type"] = "provisioned-concurrency"
    folder = run.write(tmp_path)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "architecture": "arm64", "provisioned": 3}))
    study = load_study(folder)
    found = costs(study)
    assert found is not None
    records = [record for record in run.journal if record["type"] == "invocation"]
    gb = records[0]["memory_mb"] / 1024
    billed_s = sum(record["billed_ms"] for record in records) / 1000
    scale = 1e6 / len(records)
    assert found["parts_usd"]["duration"] == pytest.approx(billed_s * gb * 0.0000077778 * scale, rel=1e-3)
    assert found["parts_usd"]["provisioned"] == pytest.approx(3 * gb * study.span_s * 0.0000033334 * scale, rel=1e-3)
    assert found["architecture"] == "arm64"


LINE = (
    "REPORT RequestId: {}\tDuration: 10.00 ms\tBilled Duration: {} ms\tMemory Size: 1024 MB\tMax Memory Used: 90 MB\t"
)


@pytest.mark.parametrize("billed", [10, 1010])
def test_initialisation_is_billed_as_today_whatever_the_lines_of_then_say(tmp_path: Path, billed: int) -> None:
    """Until August 2025 the Billed Duration of a zip function left its initialisation out."""
    rows = [f'1729765804000,"{LINE.format("a", billed)}Init Duration: 1000.00 ms\t"']
    rows += [f'1729765805000,"{LINE.format("b", 10)}"']
    (tmp_path / "log.csv").write_text("timestamp,message\n" + "\n".join(rows) + "\n")
    found = costs(load_study(tmp_path / "log.csv"))
    assert found is not None
    assert found["parts_usd"]["duration"] == pytest.approx((1.01 + 0.01) / 2 * 1e6 * 0.0000166667, abs=1e-4)
    assert found["parts_usd"]["of_it_initialisation"] == pytest.approx(1.0 / 2 * 1e6 * 0.0000166667, abs=1e-4)
    assert found["initialisation_added"] is (billed == 10)


def test_restores_cost_by_the_gigabyte(tmp_path: Path) -> None:
    text = "Restore Duration: 244.38 ms\tBilled Restore Duration: 167 ms\t"
    (tmp_path / "log.csv").write_text(f'timestamp,message\n1729765804000,"{LINE.format("a", 10)}{text}"\n')
    found = costs(load_study(tmp_path / "log.csv"))
    assert found is not None
    assert found["parts_usd"]["restores"] == pytest.approx(1e6 * 0.0001397998)
    assert found["one_snapshot_hour_usd"] == pytest.approx(3600 * 0.0000015046, abs=1e-5)
