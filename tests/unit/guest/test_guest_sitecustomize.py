"""Our `sitecustomize` in an image: it leaves no trace for anything but AWS's bootstrap, and hides nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import preheat

GUEST = Path(preheat.__file__).parent / "guest"
SHOW = (
    "import os, sys; print(os.environ.get('PYTHONPATH'), os.environ.get('_PREHEAT_CONTROL_FD'), {guest!r} in sys.path)"
)


def shown(program: str, *paths: Path, led: bool = True) -> list[str]:
    environ = {
        "PYTHONPATH": os.pathsep.join(map(str, [GUEST, *paths])),
        **({"_PREHEAT_CONTROL_FD": "9"} if led else {}),
    }
    # an interpreter without a virtual environment, as images have it
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run([str(python), "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def write_package(directory: Path) -> None:
    package = directory / "awslambdaric"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bootstrap.py").write_text("def run(handler, client):\n    print('ran', handler)\n")


def test_it_takes_itself_out_of_the_paths_and_leaves_the_functions_own(tmp_path: Path) -> None:
    program = SHOW.format(guest=str(GUEST))
    assert shown(program) == ["None", "None", "False"]
    assert shown(program, tmp_path) == [str(tmp_path), "None", "False"]


def test_without_an_order_it_only_leaves(tmp_path: Path) -> None:
    assert shown(SHOW.format(guest=str(GUEST)), tmp_path, led=False) == [str(tmp_path), "None", "False"]
    program = "import awslambdaric.bootstrap as bootstrap; bootstrap.run('app.handler', None)"
    write_package(tmp_path)
    assert shown(program, tmp_path, led=False) == ["ran", "app.handler"]


def test_an_image_s_own_sitecustomize_is_run(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the own one')\n")
    assert shown("import sitecustomize; print(sitecustomize.__file__)", tmp_path) == [
        "the",
        "own",
        "one",
        str(tmp_path / "sitecustomize.py"),
    ]


def test_awss_bootstrap_is_taken_over_once_loaded(tmp_path: Path) -> None:
    """The rest of the package is untouched; `run` is asked for a handler and hosts it."""
    write_package(tmp_path)
    hosted = "import preheat_snapshot\n"
    program = (
        "import awslambdaric.bootstrap as bootstrap, sys\n"
        f"sys.path.insert(0, {str(GUEST)!r})\n{hosted}sys.path.pop(0)\n"
        "preheat_snapshot.run_hosted = lambda handler, fd: print('hosted', handler, fd)\n"
        "bootstrap.run('app.handler', None)\n"
        "bootstrap.run('again', None)\n"
    )
    assert shown(program, tmp_path) == ["hosted", "app.handler", "9", "ran", "again"]
