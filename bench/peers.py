"""The peers, each ready to serve the same handler from the same folder. All of them run in bench/.venv."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import HOST, http_request
from bench.processes import free_port, own_environment, running, wait_until_answered

BENCH_DIR = Path(__file__).resolve().parent
VENV = BENCH_DIR / ".venv"
INVOKE_PATH = "/2015-03-31/functions/function/invocations"


@dataclass(frozen=True, slots=True)
class Workload:
    """`folder`: handler, model and dependencies, with .pyc files; `body`: a request's JSON; `logs`: the servers'."""

    folder: Path
    body: bytes
    logs: Path


@contextlib.contextmanager
def fastapi(workload: Workload, workers: int) -> Iterator[int]:
    """FastAPI on uvicorn with uvloop, httptools and no access log (its fastest set-up); yields the port."""
    port, log = free_port(), workload.logs / f"fastapi-{workers}.log"
    command = [str(VENV / "bin/uvicorn"), "bench.fastapi_app:app", "--host", HOST, "--port", str(port)]
    command += ["--workers", str(workers), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    env = own_environment(PYTHONPATH=f"{BENCH_DIR.parent}:{workload.folder}")
    with running([*command, "--log-level", "warning"], log, env=env) as process:
        wait_until_answered(process, port, http_request("POST", "/default/iris", workload.body), log, 60)
        yield port


@contextlib.contextmanager
def rie(workload: Workload) -> Iterator[int]:
    """AWS's runtime interface emulator with AWS's own client; yields the port."""
    port, log = free_port(), workload.logs / "rie.log"
    binary = rie_binary()
    command = [str(binary), "--runtime-interface-emulator-address", f"{HOST}:{port}"]
    command += ["--runtime-api-address", f"{HOST}:{free_port()}", "--log-level", "error"]
    command += [str(VENV / "bin/python"), "-m", "awslambdaric", "lambda_function.lambda_handler"]
    env = own_environment(PYTHONPATH=str(workload.folder), AWS_LAMBDA_FUNCTION_TIMEOUT="60")
    with running(command, log, cwd=workload.folder, env=env) as process:
        wait_until_answered(process, port, http_request("POST", INVOKE_PATH, workload.body), log, 60)
        yield port


def rie_binary() -> Path:
    """aws-sam-cli's wheel carries it under samcli/local/rapid, for both architectures and not executable."""
    suffix = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
    found = sorted(VENV.glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{suffix}"))
    if not found:
        raise RuntimeError(f"no aws-lambda-rie-{suffix} in bench/.venv: run scripts/setup bench")
    found[0].chmod(0o755)
    return found[0]


@contextlib.contextmanager
def moto(logs: Path) -> Iterator[int]:
    """moto_server; yields the port."""
    port, log = free_port(), logs / "moto.log"
    command = [str(VENV / "bin/moto_server"), "-H", HOST, "-p", str(port)]
    with running(command, log) as process:
        wait_until_answered(process, port, http_request("GET", "/moto-api/data.json"), log, 60)
        yield port
