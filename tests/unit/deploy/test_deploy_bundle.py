"""From requirements and files to a build directory and a zip; all offline, with a wheel made here."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest

from preheat.deploy import bundle, packages
from preheat.kernel.errors import PreheatError

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
WHEEL = "demo_package-1.0-py3-none-any.whl"


def make_wheel(path: Path, marker: str = "1") -> None:
    info = "demo_package-1.0.dist-info"
    files = {
        "demo_package/__init__.py": f"MARKER = {marker}\n",
        "demo_package/tests/test_demo.py": "",
        "demo_package/tests/helper.py": "",
        "demo_package/tests/data/large.txt": "",
        "demo_package/data/needed.txt": "",
        "tests/test_own.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ndemo = demo_package:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    make_wheel(project / WHEEL)
    (project / "requirements.txt").write_text(f"--no-index\n./{WHEEL}\n", "utf-8")
    (project / "lambda_function.py").write_text("def lambda_handler(event, context): ...\n", "utf-8")
    (project / ".lambdaignore").write_text("*.whl\n", "utf-8")
    return project


def build(project: Path, said: list[str], handler: str = "lambda_function.lambda_handler") -> Path:
    cache = project.parent / "cache"
    return bundle.build(project, "demo", RUNTIME, handler, for_aws=False, cache_dir=cache, say=said.append)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_build_has_the_dependencies_and_the_project(project: Path) -> None:
    said: list[str] = []
    built = build(project, said)
    assert built.is_absolute()
    assert {name for name in files(built) if "dist-info" not in name} == {
        "lambda_function.py",
        "requirements.txt",
        "demo_package/__init__.py",
        "demo_package/data/needed.txt",
        "demo_package/tests/helper.py",  # numpy.testing imports one of these
        "tests/test_own.py",
    }
    assert any("Processing" in line or "Installing" in line for line in said)


def test_dependencies_are_installed_once_and_never_written_through(project: Path) -> None:
    built = build(project, [])
    (cached,) = (project.parent / "cache").glob("packages-*")
    (project / "demo_package").mkdir()
    (project / "demo_package" / "__init__.py").write_text("MARKER = 'mine'\n", "utf-8")
    said: list[str] = []
    assert build(project, said) == built
    assert said == [f"dependencies of requirements.txt: cached ({cached.name})"]
    assert (built / "demo_package" / "__init__.py").read_text() == "MARKER = 'mine'\n"
    assert (cached / "demo_package" / "__init__.py").read_text() == "MARKER = 1\n"
    (project / "lambda_function.py").rename(project / "other.py")
    build(project, [], "other.lambda_handler")
    assert "lambda_function.py" not in files(built)  # nothing of the build before stays
    assert not list((project.parent / "cache" / "functions").glob("building-*"))


def test_another_set_of_requirements_is_another_installation(project: Path) -> None:
    build(project, [])
    (project / "more.txt").write_text("", "utf-8")
    (project / "requirements.txt").write_text(f"--no-index\n-r more.txt\n./{WHEEL}\n", "utf-8")
    build(project, [])
    (project / "more.txt").write_text("# changed, one level down\n", "utf-8")
    build(project, [])
    assert len(list((project.parent / "cache").glob("packages-*"))) == 3


def test_pips_reason_is_told_in_one_line(project: Path) -> None:
    (project / "requirements.txt").write_text("--no-index\nno-such-package-here==1\n", "utf-8")
    with pytest.raises(PreheatError, match="no-such-package-here") as caught:
        build(project, [])
    assert "\n" not in str(caught.value)
    assert not list((project.parent / "cache").iterdir())  # no half installation is taken for a whole one


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ("missing.handler", "no missing.py"),
        ("lambda_function", "MODULE.FUNCTION"),
        (".handler", "MODULE.FUNCTION"),
        ("a.b.handler", "no a/b.py"),
    ],
)
def test_a_handler_without_a_module_is_a_usage_error(project: Path, handler: str, words: str) -> None:
    with pytest.raises(PreheatError, match=words) as caught:
        build(project, [], handler)
    assert caught.value.exit_code == 252


def test_handlers_in_packages_are_found() -> None:
    for handler in ("a.b.handler", "a/b.handler"):
        bundle.check_handler(Path(), ["a/b.py"], handler)
        bundle.check_handler(Path(), ["a/b/__init__.py"], handler)


@pytest.mark.parametrize("runtime", ["nodejs22.x", "python3", "provided.al2023", "python3.11x"])
def test_other_runtimes_are_refused(runtime: str) -> None:
    with pytest.raises(PreheatError, match="Python runtimes"):
        packages.python_version(runtime)


def test_an_interpreter_is_taken_only_for_its_own_version() -> None:
    assert packages.interpreter(RUNTIME.removeprefix("python")) == sys.executable
    assert packages.interpreter("3.99") is None


def test_a_zip_depends_on_the_files_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "data").write_bytes(b"x" * 1000)
        (folder / "run").write_text("#!/bin/sh\n")
        (folder / "run").chmod(0o755)
    assert bundle.zipped(first) == bundle.zipped(second)
    with zipfile.ZipFile(io.BytesIO(bundle.zipped(first))) as archive:
        assert archive.namelist() == ["run", "sub/data"]
        assert archive.getinfo("run").external_attr >> 16 == 0o755
        assert archive.getinfo("sub/data").external_attr >> 16 == 0o644


def test_a_zip_too_large_for_one_request_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_bytes(b"x")
    monkeypatch.setattr(bundle, "MAX_ZIP_BYTES", len(bundle.zipped(tmp_path)))
    with pytest.raises(PreheatError, match="S3"):
        bundle.zipped(tmp_path)
