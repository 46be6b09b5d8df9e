"""What of a Lambda Python image a process can run, and what it is told about where the image's files are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.kernel.errors import PreheatError
from preheat.kernel.image import ImageProgram, ResolvedImage
from preheat.services.lambda_.process_images import ProcessImages

IMAGE = ResolvedImage("registry/iris@sha256:1", "sha256:1", "x86_64", {}, ("sha256:2",), 1)


class Flat:
    """An `ImageSource` of one unpacked image; nothing else is asked of it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def flat_directory(self, image: ResolvedImage) -> Path:
        return self.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Lambda Python image, unpacked."""
    for folder in ("var/task/inner", "var/runtime", "var/lang/bin", "opt"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("python3.11", "python3.11-config", "python3"):
        (tmp_path / "var/lang/bin" / name).touch()
    return tmp_path


def found(runtime: str) -> Path:
    return Path("/usr/bin") / runtime


def prepared(root: Path, interpreter: object = found) -> tuple[ProcessImages, ImageProgram]:
    images = ProcessImages(Flat(root), interpreter)  # type: ignore[arg-type]
    program = asyncio.run(images.prepare(IMAGE))
    command = ("/lambda-entrypoint.sh", "app.handler")
    return images, replace(program, command=command, working_dir="/var/task", environ={"MODEL": "iris"})


def test_its_search_paths_lead_to_its_files_and_its_system_is_this_machines(root: Path) -> None:
    images, program = prepared(root)
    paths = {
        "PATH": "/var/lang/bin:/usr/bin:/opt/bin",
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/var/task/lib:/opt/lib",
        "PYTHONPATH": "/opt/extra",
    }
    fitted = images.fit(replace(program, environ=paths))
    assert (fitted.root, fitted.runtime, fitted.layers) == (str(root), "python3.11", ())
    assert fitted.working_dir == f"{root}/var/task"
    assert fitted.environ == {
        "PATH": f"/var/lang/bin:/usr/bin:{root}/opt/bin",
        "LD_LIBRARY_PATH": f"{root}/var/task/lib:{root}/opt/lib",
        "PYTHONPATH": f"{root}/opt/extra:{root}/var/lang/lib/python3.11/site-packages",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
    }


def test_another_working_directory_leaves_the_task_root_on_the_path(root: Path) -> None:
    images, program = prepared(root)
    fitted = images.fit(replace(program, working_dir="/var/task/../task/inner"))
    assert fitted.working_dir == f"{root}/var/task/inner"
    assert fitted.environ["PYTHONPATH"].split(":")[0] == f"{root}/var/task"
    assert images.fit(replace(program, working_dir="../../var/task")).working_dir == f"{root}/var/task"
    with pytest.raises(PreheatError, match="has no directory /nowhere"):
        images.fit(replace(program, working_dir="/nowhere"))


def test_what_lies_below_opt_is_shown_there(root: Path) -> None:
    (root / "opt/python").mkdir()
    assert prepared(root)[1].layers == (f"{root}/opt",)


@pytest.mark.parametrize("command", [(), ("app.handler",), ("/lambda-entrypoint.sh",), ("/usr/bin/node", "a", "b")])
def test_another_entry_point_is_refused_by_its_words(root: Path, command: tuple[str, ...]) -> None:
    images, program = prepared(root)
    with pytest.raises(PreheatError, match=f"the image's command is {' '.join(command) or 'empty'}: without"):
        images.fit(replace(program, command=command))


def test_an_image_of_another_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreheatError, match=r"registry/iris@sha256:1 is not based on a Lambda Python image"):
        prepared(tmp_path)


def test_a_missing_interpreter_is_named_when_the_image_is_made_ready(root: Path) -> None:
    def missing(runtime: str) -> Path:
        raise PreheatError(f"no interpreter for runtime {runtime} found")

    with pytest.raises(PreheatError, match=r"runtime python3\.11 found"):
        prepared(root, missing)
