"""One server per test module, stopped and found to have left nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e_cloud import Cloud, remains


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud") / "data").start()
    yield made
    assert made.end() == 0
    assert remains(made.data_dir) == []
