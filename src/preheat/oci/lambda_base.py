"""Lambda's Python base image, made from an interpreter of this machine: for where the real one cannot be pulled.

The paths, variables and start scripts are those of `public.ecr.aws/lambda/python`; the system libraries are this
machine's, so what runs here runs in the image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.oci.blobs import BlobStore
from preheat.oci.compile_step import compiled
from preheat.oci.pack import PackedLayer, pack
from preheat.oci.pip_step import PREFIX
from preheat.oci.tree import Entry, directory, entry_of, file, placed

OWN_BASE_LABEL = "preheat.base"
"""Marks an image whose system libraries are this machine's; its value is the base's key."""
_FORMAT = "2"
"""Raised whenever what is made here changes."""
_NAMES = re.compile(
    r"(?:public\.ecr\.aws/lambda/python|amazon/aws-lambda-python|docker\.io/amazon/aws-lambda-python)"
    r":(3\.\d+)(?:[.-][\w.-]*)?"
)
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "tkinter"}
_ALSO_NEEDED = ("libgcc_s.so.1", "libstdc++.so.6", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2")
"""What manylinux wheels (PEP 600) and the C library load by name; libm and the like come with them."""
_SMALL_TOOLS = """
[ awk basename bash cat chmod chown cksum cp cut date dd df dirname du echo egrep env expand expr false fgrep find fold
grep groups gunzip gzip head hostname id install ln ls md5sum mkdir mkfifo mktemp mv nl nproc od paste printenv printf
pwd readlink realpath rm rmdir sed seq sha1sum sha256sum sha512sum sleep sort split stat sync tail tar tee test timeout
touch tr true truncate uname uniq wc which whoami xargs yes
"""
"""What a RUN or a start script expects of any system, where this machine has it: AWS's own base has these too."""
_OLD_NAMES = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6")
_RUNTIME = ("awslambdaric>=2.0", "boto3")

_ENTRYPOINT = """#!/bin/sh
if [ $# -ne 1 ]; then
  echo "entrypoint requires the handler name to be the first argument" 1>&2
  exit 142
fi
export _HANDLER="$1"
if [ -z "${AWS_LAMBDA_RUNTIME_API}" ]; then
  exec /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
else
  exec /var/runtime/bootstrap
fi
"""
_BOOTSTRAP = """#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python{version}
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}/opt/python/lib/python{version}/site-packages:/opt/python:/var/runtime"
if [ -z "$AWS_LAMBDA_EXEC_WRAPPER" ]; then
  exec {prefix}/bin/python{version} -m awslambdaric "$_HANDLER"
else
  exec "$AWS_LAMBDA_EXEC_WRAPPER" {prefix}/bin/python{version} -m awslambdaric "$_HANDLER"
fi
"""
_PIP_SCRIPT = """#!{prefix}/bin/python{version}
import sys
from pip._internal.cli.main import main
sys.exit(main())
"""
_FACTS = """
import json, os, ssl, sys, sysconfig
print(json.dumps({"version": sys.version, "short": "%d.%d" % sys.version_info[:2],
    "executable": os.path.realpath(sys.executable), "stdlib": sysconfig.get_path("stdlib"),
    "cafile": ssl.get_default_verify_paths().openssl_cafile}))
"""


@dataclass(frozen=True, slots=True)
class LambdaBase:
    layers: tuple[PackedLayer, ...]
    config: dict[str, Any]


def python_version(image: str) -> str | None:
    """ "3.11" of the name of one of Lambda's Python base images; None for any other name."""
    match = _NAMES.fullmatch(image.partition("@")[0])
    return match[1] if match else None


def base_key(python: Path, emulator: Path) -> str:
    """Names the base an interpreter gives: another one after an upgrade of anything in it that is ours to know."""
    facts = _facts(python)
    changed_ns = Path(facts["executable"]).stat().st_mtime_ns
    text = "\0".join((_FORMAT, facts["version"], facts["executable"], str(changed_ns), emulator.read_text()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_base(python: Path, emulator: Path, blobs: BlobStore, work: Path) -> LambdaBase:
    """Two layers: the system with the interpreter, and the runtime. `emulator` becomes `aws-lambda-rie`.

    Raises RuntimeError, in a sentence, where the interpreter has no pip or pip fails.
    """
    facts = _facts(python)
    version: str = facts["short"]
    runtime = work / "runtime"
    _install_runtime(python, runtime)
    system = pack(_system(python, facts, runtime, work), blobs)
    packages = pack(_runtime_layer(python, version, runtime, emulator, work), blobs)
    return LambdaBase((system, packages), _config(base_key(python, emulator)))


def _config(key: str) -> dict[str, Any]:
    return {
        "Env": [
            "LANG=en_US.UTF-8",
            "TZ=:/etc/localtime",
            f"PATH={PREFIX}/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            f"LD_LIBRARY_PATH={PREFIX}/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib"
            ":/var/task:/var/task/lib:/opt/lib",
            "LAMBDA_TASK_ROOT=/var/task",
            "LAMBDA_RUNTIME_DIR=/var/runtime",
        ],
        "WorkingDir": "/var/task",
        "Entrypoint": ["/lambda-entrypoint.sh"],
        "Labels": {OWN_BASE_LABEL: key},
    }


def _facts(python: Path) -> dict[str, Any]:
    done = subprocess.run([str(python), "-c", _FACTS], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{python} does not run: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def _install_runtime(python: Path, into: Path) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--no-input"]
    command += ["--disable-pip-version-check", "--target", str(into), *_RUNTIME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"pip could not install {' and '.join(_RUNTIME)} for the base image: {reason}")
    shutil.rmtree(into / "bin", ignore_errors=True)


def _runtime_layer(python: Path, version: str, runtime: Path, emulator: Path, work: Path) -> Iterator[Entry]:
    yield directory("var/runtime")
    modules: list[tuple[Path, str]] = []
    for found in sorted(runtime.rglob("*")):
        path = f"var/runtime/{found.relative_to(runtime).as_posix()}"
        yield placed(entry_of("", found), path)
        if found.suffix == ".py":
            modules.append((found, f"/{path}"))
    yield from compiled(python, version, modules, work / "runtime-bytecode")
    yield file("var/runtime/bootstrap", _BOOTSTRAP.format(version=version, prefix=PREFIX).encode(), 0o755)
    yield file("lambda-entrypoint.sh", _ENTRYPOINT.encode(), 0o755)
    code = f"#!{PREFIX}/bin/python{version}\n".encode() + emulator.read_bytes()
    yield file("usr/local/bin/aws-lambda-rie", code, 0o755)


def _system(python: Path, facts: dict[str, Any], runtime: Path, work: Path) -> Iterator[Entry]:
    version: str = facts["short"]
    stdlib, executable = Path(facts["stdlib"]), Path(facts["executable"])
    yield from _skeleton(facts["cafile"])
    places = {name: _system_tool(name) for name in ("sh", *_SMALL_TOOLS.split())}
    tools = {name: Path(place).resolve() for name, place in places.items() if place is not None}
    for name, tool in sorted(tools.items()):
        yield placed(entry_of("", tool), f"usr/bin/{name}", mode=0o755)
    yield placed(entry_of("", executable), f"{PREFIX}/bin/python{version}", mode=0o755)
    for name in ("python3", "python"):
        yield Entry(f"{PREFIX.strip('/')}/bin/{name}", "link", 0o777, target=f"python{version}")
    modules: list[tuple[Path, str]] = []
    home = f"{PREFIX.strip('/')}/lib/python{version}"
    for found in _library(stdlib):
        path = f"{home}/{found.relative_to(stdlib).as_posix()}"
        yield placed(entry_of("", found.resolve() if found.is_file() else found), path)
        if found.suffix == ".py":
            modules.append((found, f"/{path}"))
    yield directory(f"{home}/site-packages")
    modules += list(_pip_wheel(stdlib, work / "pip", f"/{home}/site-packages"))
    for source, shown in modules:
        if source.is_relative_to(work):
            yield placed(entry_of("", source), shown)
    yield from _pip_metadata(work / "pip", f"{home}/site-packages")
    yield file(f"{PREFIX.strip('/')}/bin/pip", _PIP_SCRIPT.format(prefix=PREFIX, version=version).encode(), 0o755)
    yield from compiled(python, version, modules, work / "stdlib-bytecode")
    natives = [
        *tools.values(),
        executable,
        *sorted((stdlib / "lib-dynload").glob("*.so")),
        *sorted(runtime.rglob("*.so")),
    ]
    yield from _libraries(natives)


def _system_tool(name: str) -> str | None:
    return shutil.which(name, path="/usr/bin:/bin")


def _skeleton(cafile: str) -> Iterator[Entry]:
    for name in ("dev", "etc", "opt", "proc", "root", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "var/task"):
        yield directory(name)
    for name in ("tmp", "var/tmp"):
        yield directory(name, 0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        yield Entry(name, "link", 0o777, target=f"usr/{name}")
    yield file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n")
    yield file("etc/group", b"root:x:0:\nnobody:x:65534:\n")
    yield file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        yield placed(entry_of("", certificates.resolve()), "etc/ssl/certs/ca-certificates.crt", mode=0o644)
        if cafile and cafile.startswith(("/usr/", "/etc/")) and cafile != str(certificates):
            yield Entry(cafile.strip("/"), "link", 0o777, target=str(certificates))


def _library(stdlib: Path) -> Iterator[Path]:
    """The standard library without tests, build files and what other packages have put there."""
    for folder, names, files in os.walk(stdlib):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and not name.startswith("config-"))
        if folder != str(stdlib):
            yield Path(folder)
        yield from (Path(folder) / name for name in sorted(files) if not name.endswith((".a", ".pyc")))


def _pip_wheel(stdlib: Path, into: Path, shown: str) -> Iterator[tuple[Path, str]]:
    """pip for the image, from the wheel that ensurepip carries; an interpreter without one gives an image without."""
    wheels = sorted((stdlib / "ensurepip" / "_bundled").glob("pip-*.whl"))
    if not wheels:
        return
    with zipfile.ZipFile(wheels[-1]) as wheel:
        wheel.extractall(into)
    for found in sorted(into.rglob("*.py")):
        yield found, f"{shown}/{found.relative_to(into).as_posix()}"


def _pip_metadata(unpacked: Path, shown: str) -> Iterator[Entry]:
    for found in sorted(unpacked.rglob("*")):
        if found.is_file() and found.suffix != ".py":
            yield placed(entry_of("", found), f"{shown}/{found.relative_to(unpacked).as_posix()}")


def _libraries(natives: Iterable[Path]) -> Iterator[Entry]:
    """The shared libraries of these programs, each where it is on this machine, or in the interpreter's own lib."""
    needed = set(libraries_of(natives))
    folders = {library.parent for library in needed}
    for name in (*_ALSO_NEEDED, *_OLD_NAMES):
        needed |= {path for folder in folders if (path := folder / name).exists()}
    needed |= set(libraries_of(sorted(needed)))
    for library in sorted(needed):
        folder = library.parent.resolve()
        home = folder if str(folder).startswith("/usr/lib") else Path(PREFIX) / "lib"
        if folder == Path("/lib64") or folder == Path("/usr/lib64"):
            home = Path("/usr/lib64")
        yield placed(entry_of("", library.resolve()), f"{home}/{library.name}", mode=0o755)


def libraries_of(natives: Iterable[Path]) -> Iterator[Path]:
    """Paths as the dynamic linker finds them, itself included. Static programs have none."""
    names = [str(path) for path in natives]
    done = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        match = re.match(r"\s+(?:\S+ => )?(/\S+) \(0x", line)
        if match:
            yield Path(match[1])
