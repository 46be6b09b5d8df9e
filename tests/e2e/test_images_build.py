"""`preheat build` with a RUN of anything: in containers, without a daemon, and nothing of them left."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_cloud import BIN, clean_environment, eventually, preheat, remains
from registry_tools import run

from preheat.sandbox.build_container import cannot_build

pytestmark = [
    pytest.mark.skipif(cannot_build() is not None, reason="RUN in containers takes root and runc (preheat doctor)"),
    pytest.mark.timeout(300),
]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"FROM public.ecr.aws/lambda/python:{PYTHON}\n"
WHOLE = (
    BASE
    + """
ARG COLOUR=red
ENV PLACE=/opt/made
WORKDIR ${PLACE}
RUN mkdir -p sub && echo "$COLOUR $(pwd) $(id -u)" > sub/told && ln -s sub link && ln sub/told twin \\
    && python -c "import os; os.setxattr('sub/told', 'user.kept', b'x')"
COPY app.py link/
RUN --mount=type=bind,source=app.py,target=/lent.py --mount=type=cache,target=/cache \\
    test -s /lent.py && touch /cache/kept && rm /var/runtime/bootstrap && python -m compileall -q sub
RUN <<EOF python - && rm -r /etc/ssl && mkdir /etc/ssl
import sub.app
print("from python:", sub.app.handler(1, 2))
EOF
SHELL ["/bin/bash", "-ec"]
USER nobody
RUN [[ $(id -un) == nobody ]] && [[ $HOME == / ]] && ! touch /opt/made/mine 2>&1
USER root
RUN ["/usr/bin/env", "sh", "-c", "ls /sys/fs/cgroup > seen 2>&1; test $(grep -c : /proc/net/dev) -ge 1"]
HEALTHCHECK --interval=30s CMD true
CMD ["app.handler"]
"""
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    (root / "app.py").write_text("def handler(event, context):\n    return {'event', 'context'}\n")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, lend_base: Callable[[Path], None]) -> Iterator[Path]:
    """A data directory for builds, in which nothing may stay behind."""
    directory = tmp_path_factory.mktemp("build") / "data"
    lend_base(directory)
    yield directory
    assert remains(directory) == []
    assert [path.name for path in (directory / "images").iterdir() if path.name.startswith(".b")] == []


def build(context: Path, data: Path, text: str, name: str = "x", *options: str) -> subprocess.CompletedProcess[str]:
    dockerfile = data.parent / "Dockerfile"
    dockerfile.write_text(text)
    common = ["-f", str(dockerfile), "-t", name, "--data-dir", str(data)]
    return preheat("build", str(context), *common, *options, timeout_s=200)


def test_run_does_what_docker_does(context: Path, data: Path, tmp_path: Path) -> None:
    done = build(context, data, WHOLE, "whole", "--build-arg", "COLOUR=blue")
    assert done.returncode == 0, done.stderr
    assert "from python: {" in done.stderr
    run("umoci", "unpack", "--image", f"{data}/images:whole:latest", f"{tmp_path}/bundle")
    root = tmp_path / "bundle/rootfs"
    made = root / "opt/made"
    assert (made / "sub/told").read_text() == "blue /opt/made 0\n"
    assert (made / "twin").stat().st_ino == (made / "sub/told").stat().st_ino
    assert os.getxattr(made / "sub/told", "user.kept") == b"x"
    assert (made / "link").readlink() == Path("sub")
    assert (made / "sub/app.py").read_bytes() == (context / "app.py").read_bytes()
    assert not (root / "var/runtime/bootstrap").exists()
    assert list((root / "etc/ssl").iterdir()) == []
    assert not {"cache", "lent.py"} & {path.name for path in root.iterdir()}
    assert not {"resolv.conf", "hosts"} & {path.name for path in (root / "etc").iterdir()}
    assert {path.stat().st_mtime for path in made.rglob("*")} == {315_532_800}
    facts = json.loads(run("skopeo", "inspect", "--config", "--raw", f"oci:{data}/images:whole:latest").stdout)
    assert facts["config"]["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 30 * 10**9}
    assert facts["config"]["Shell"] == ["/bin/bash", "-ec"]
    # in a fresh interpreter the bytecode is taken as it is: nothing is compiled on a cold start
    argv = [sys.executable, "-v", "-c", "import sub.app"]
    said = subprocess.run(argv, cwd=made, capture_output=True, text=True, check=True, env={}).stderr
    assert re.search(r"code object from .*sub/__pycache__/app\.", said), said


def test_the_same_input_gives_the_same_image_and_runs_nothing_twice(context: Path, data: Path, tmp_path: Path) -> None:
    first = build(context, data, WHOLE, "one")
    again = build(context, data, WHOLE, "two")
    assert again.stdout == first.stdout
    assert again.stderr.count(": cached") == 5
    assert build(context, data, WHOLE, "three", "--no-cache", "--quiet").stdout == first.stdout
    elsewhere = tmp_path / "data"
    assert build(context, elsewhere, WHOLE, "one").stdout == first.stdout


def test_a_run_has_the_machines_network_unless_it_wants_none(context: Path, data: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = f"python -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:{server.server_port}')\""
        reached = build(context, data, f"{BASE}ENV no_proxy=*\nRUN {ask}")
        refused = build(context, data, f"{BASE}ENV no_proxy=*\nRUN --network=none {ask}")
        server.shutdown()
    assert reached.returncode == 0, reached.stderr
    assert refused.returncode == 255
    assert "refused" in refused.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo why >&2; exit 3", "exit status 3: why"),
        ("sh -c 'kill -9 $$'", "killed by signal 9"),
        ("nonsense", "exit status 127"),
    ],
)
def test_a_run_that_fails_says_its_line_and_why(context: Path, data: Path, line: str, words: str) -> None:
    done = build(context, data, f"{BASE}\nRUN {line}\n")
    assert done.returncode == 255
    assert f"line 3: RUN {line}: {words}" in done.stderr.splitlines()[-1]


def test_a_build_that_is_killed_takes_its_command_along(context: Path, data: Path) -> None:
    dockerfile = data.parent / "Dockerfile"
    dockerfile.write_text(f"{BASE}RUN (sleep {NAP_S} &) ; echo started; sleep {NAP_S}\n")
    argv = [str(BIN / "preheat"), "build", str(context), "-f", str(dockerfile), "-t", "k", "--data-dir", str(data)]
    for number in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=clean_environment()) as process:
            assert process.stderr is not None
            assert any(line.strip() == "started" for line in process.stderr)
            assert eventually(lambda: len(sleepers()) == 2)
            process.send_signal(number)
            process.wait(20)
        eventually(lambda: not sleepers())
        assert remains(data) == []
    for left in (data / "images").glob(".build-*"):  # a killed one leaves its files to `preheat gc`
        run("rm", "-r", str(left))
    assert build(context, data, f"{BASE}RUN true\n").returncode == 0


def test_without_root_a_run_says_what_it_takes() -> None:
    with tempfile.TemporaryDirectory(prefix="preheat-nobody-") as place:  # pytest keeps its directories to itself
        Path(place).chmod(0o777)
        (Path(place) / "Dockerfile").write_text("FROM scratch\n\nRUN yum install -y gcc\n")
        as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(BIN / "preheat"), "build"]
        done = run(*as_nobody, place, "-t", "x", "--data-dir", f"{place}/data", check=False)
    assert done.returncode == 255
    assert "line 3: RUN yum install -y gcc: without a container only pip install can be run" in done.stderr
    assert "use docker build (no container can be started: it takes root" in done.stderr


NAP_S = 100_000 + os.getpid()
"""Nobody else on this machine sleeps for as long."""


def sleepers() -> list[int]:
    """Processes of our build's RUN: those in a PID namespace of their own that sleep for so long."""
    own, found = Path("/proc/self/ns/pid").readlink(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"sleep\0%d\0" % NAP_S:
                found += [int(entry.name)] if (entry / "ns/pid").readlink() != own else []
        except OSError:
            continue
    return found
