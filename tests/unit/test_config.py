"""Settings from files and the command line: which wins, and what is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat import config
from preheat.kernel.errors import PreheatError
from preheat.kernel.settings import Settings


def test_without_files_the_defaults_hold(tmp_path: Path) -> None:
    assert config.load(tmp_path, {}) == Settings()


def test_preheat_toml_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "preheat.toml").write_text('port = 5000\nregion = "eu-west-1"\nkeep_alive_s = 5\n')
    found = config.load(tmp_path, {"port": 6000, "host": None})
    assert (found.port, found.region, found.keep_alive_s, found.host) == (6000, "eu-west-1", 5, "127.0.0.1")


def test_pyprojects_table_is_read_unless_preheat_toml_is_there(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.preheat]\nport = 5000\n')
    assert config.load(tmp_path, {}).port == 5000
    (tmp_path / "preheat.toml").write_text("")
    assert config.load(tmp_path, {}).port == Settings().port


def test_a_pyproject_without_our_table_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert config.load(tmp_path, {}) == Settings()


def test_paths_become_paths(tmp_path: Path) -> None:
    assert config.load(tmp_path, {"data_dir": "state"}).data_dir == Path("state")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("warp = 9", "preheat.toml: unknown setting 'warp'; known: data_dir, host, port"),
        ('port = "http"', "preheat.toml: port = 'http' is not int"),
        ("port = true", "preheat.toml: port = True is not int"),
        ("max_inits = 1.5", "preheat.toml: max_inits = 1.5 is not int"),
        ("max_inits = 0", "preheat.toml: max_inits = 0 must be above 0"),
        ("keep_alive_s = -1", "preheat.toml: keep_alive_s = -1 must be above 0"),
        ("region = 1", "preheat.toml: region = 1 is not str"),
        ('transport = "pigeon"', "preheat.toml: transport = 'pigeon' is not one of socket, http"),
        ('sandbox = "sieve"', "preheat.toml: sandbox = 'sieve' is not one of "),
        ("port = ", "preheat.toml: Invalid value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "preheat.toml").write_text(text)
    with pytest.raises(PreheatError) as refused:
        config.load(tmp_path, {})
    assert str(refused.value).startswith(words)
    assert refused.value.exit_code == 253


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preheat.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PreheatError, match=r"^preheat\.toml: "):
        config.load(tmp_path, {})


def test_port_0_means_a_free_one(tmp_path: Path) -> None:
    assert config.load(tmp_path, {"port": 0}).port == 0


@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Settings)]), st.none() | st.integers(1)))
def test_whatever_is_given_is_either_a_setting_or_refused(values: dict[str, Any]) -> None:
    text = {field.name for field in dataclasses.fields(Settings) if field.type == "str"}
    given_text = sorted(key for key, value in values.items() if key in text and value is not None)
    overrides = {key: value for key, value in values.items() if key != "data_dir"}
    if given_text:
        with pytest.raises(PreheatError):
            config.load(Path("/nonexistent"), overrides)
    else:
        found = config.load(Path("/nonexistent"), overrides)
        assert all(getattr(found, key) == value for key, value in overrides.items() if value is not None)
