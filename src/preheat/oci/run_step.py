"""RUN in a container over the layers so far: what is run, as whom, with what, and the layer that it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.kernel.build import BuildCommand, Mount
from preheat.oci.dockerfile import Instruction, substitute
from preheat.oci.image_config import NOT_BUILT, PROXIES, ImageConfig
from preheat.oci.tree import Tree, TreeError

_FORMAT = "1"
"""Raised whenever the same RUN would leave another layer."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Docker's default where the image has no PATH."""
_REPEATABLE = {"PYTHONHASHSEED": "0"}
"""What makes a command's files the same every time: the order of sets in Python's bytecode."""
_PLACE = "/dev/.preheat"
"""Where a RUN finds what is only lent to it: below /dev, which is mounted anew and no part of the layer."""
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_LENT = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
_MOUNT_KEYS = {"type", "target", "dst", "destination", "source", "src", "from", "id", "sharing", "ro", "readonly", "rw"}


@dataclass(frozen=True, slots=True)
class RunStep:
    """One RUN, all of it known before it is started. `work` is a directory of its own."""

    instruction: Instruction
    config: ImageConfig
    tree: Tree
    work: Path
    context: Path
    caches: Path
    """Directory of the caches that `--mount=type=cache` lends."""
    machine: Mapping[str, str]
    """This machine's environment variables."""

    def key(self, diff_ids: Sequence[str]) -> str:
        """Names the result: the same command in the same place on the same layers need not be run again."""
        config, run = self.config, self.instruction
        facts = [_FORMAT, *self.arguments, *(document.raw for document in run.documents)]
        facts += [f"{name}={value}" for name, value in sorted(config.variables.items())]
        facts += [f"{name}={value}" for name, value in sorted(run.flags.items())]
        facts += [config.absolute(""), str(config.values.get("User") or ""), *self._lent_files(), *diff_ids]
        return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()

    def command(self, layers: tuple[Path, ...], build_args: Mapping[str, str]) -> BuildCommand:
        """Raises DockerfileError, TreeError for a user that the image does not know."""
        uid, gid, groups, home = user(self.tree, str(self.config.values.get("User") or ""))
        network = self.instruction.flags.get("network", "default")
        if network not in ("default", "host", "none"):
            raise self.instruction.fail(f"RUN --network={network} {NOT_BUILT}")
        lent, mounts = _lent({**self.machine, **proxies(build_args)})
        return BuildCommand(
            layers=layers,
            work=self.work,
            arguments=tuple(self.arguments),
            environ={"PATH": _PATH, "HOME": home, **_REPEATABLE, **lent, **self.config.variables},
            working_dir=self.config.absolute(""),
            uid=uid,
            gid=gid,
            groups=groups,
            network=network != "none",
            mounts=(*mounts, *self._script(), *self._mounts()),
        )

    @property
    def arguments(self) -> list[str]:
        """The words that are started."""
        run = self.instruction
        array = run.array()
        if array is not None:
            return array
        if not run.documents:
            return [*self.config.shell, run.text]
        (first, *_) = run.documents
        if run.text.strip() != first.marker:  # a command that reads it: any shell knows how
            return [*self.config.shell, f"{run.text}\n" + "".join(document.raw for document in run.documents)]
        if first.content.startswith("#!"):
            return [f"{_PLACE}/script"]
        return [*self.config.shell, first.content]

    def _script(self) -> list[Mount]:
        if self.arguments != [f"{_PLACE}/script"]:
            return []
        script = self.work / "script"
        script.write_text(self.instruction.documents[0].content)
        script.chmod(0o755)
        return [Mount(script, f"{_PLACE}/script")]

    def _mounts(self) -> list[Mount]:
        return [self._mount(options) for options in self._mount_options()]

    def _mount(self, options: Mapping[str, str]) -> Mount:
        kind = options.get("type", "bind")
        if kind not in ("bind", "cache") or "from" in options or (kind == "bind" and "rw" in options):
            raise self.instruction.fail(f"RUN --mount={','.join(f'{k}={v}' for k, v in options.items())} {NOT_BUILT}")
        target = options.get("target") or options.get("dst") or options.get("destination") or ""
        if not target:
            raise self.instruction.fail("RUN --mount needs a target")
        target = self.config.absolute(target)
        if kind == "cache":
            name = hashlib.sha256((options.get("id") or target).encode()).hexdigest()[:16]
            self.caches.mkdir(parents=True, exist_ok=True, mode=0o700)  # set-user-id programs stay in there
            (self.caches / name).mkdir(exist_ok=True)
            (self.caches / name).touch()  # used just now: a collection spares it
            return Mount(self.caches / name, target, read_only=False)
        return Mount(self._inside(options.get("source") or options.get("src") or "."), target)

    def _mount_options(self) -> list[dict[str, str]]:
        texts = self.instruction.flags["mount"].split("\n") if "mount" in self.instruction.flags else []
        found = []
        for text in texts:
            words = substitute(text, self.config.variables).split(",")
            options = dict(word.partition("=")[::2] for word in words)
            unknown = options.keys() - _MOUNT_KEYS
            if unknown:
                raise self.instruction.fail(f"RUN --mount={text}: {sorted(unknown)[0]} {NOT_BUILT}")
            found.append(options)
        return found

    def _inside(self, path: str) -> Path:
        source = (self.context / path.lstrip("/")).resolve()
        if not source.is_relative_to(self.context.resolve()) or not source.exists():
            raise self.instruction.fail(f"RUN --mount: {path} is not in the build context")
        return source

    def _lent_files(self) -> list[str]:
        """What a bind mount shows decides what comes out."""
        found: list[Path] = []
        for mount in self._mounts():
            if mount.read_only:
                found += sorted(mount.source.rglob("*")) if mount.source.is_dir() else [mount.source]
        return [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found if path.is_file()]


def user(tree: Tree, text: str) -> tuple[int, int, tuple[int, ...], str]:
    """Who `USER name[:group]` is: (uid, gid, further groups, home). Raises TreeError for a name nobody has."""
    name, _, group = text.partition(":")
    uid = number(tree, name, "/etc/passwd") if name else 0
    gid, home, login = 0, "/root" if uid == 0 else "/", name
    for fields in _lines(tree, "/etc/passwd"):
        if len(fields) > 5 and fields[2] == str(uid):
            login, home, gid = fields[0], fields[5] or "/", int(fields[3]) if fields[3].isdecimal() else 0
            break
    if group:
        return uid, number(tree, group, "/etc/group"), (), home
    groups = [fields for fields in _lines(tree, "/etc/group") if len(fields) > 3 and login in fields[3].split(",")]
    return uid, gid, tuple(int(fields[2]) for fields in groups if fields[2].isdecimal()), home


def number(tree: Tree, name: str, database: str) -> int:
    """The number of a user or group, by the image's own lists. Raises TreeError."""
    if name.isdecimal():
        return int(name)
    for fields in _lines(tree, database):
        if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
            return int(fields[2])
    if name == "root":
        return 0
    raise TreeError(f"the image's {database} has no {name}")


def _lines(tree: Tree, database: str) -> list[list[str]]:
    return [line.split(":") for line in (tree.read(database) or b"").decode("utf-8", "replace").splitlines()]


def proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of them that say how to get out of this machine."""
    names = [spelling for name in PROXIES for spelling in (name, name.lower())]
    return {name: variables[name] for name in names if name in variables}


def _lent(machine: Mapping[str, str]) -> tuple[dict[str, str], list[Mount]]:
    """The way out of this machine: its proxies, certificates and package index. They are lent to the command, and
    are neither in the image nor in what a layer is known by."""
    index = {name: machine[name] for name in _LENT if name in machine and "file:" not in machine[name]}
    environ = {**proxies(machine), **index}
    bundles = [Path(machine[name]) for name in _CERTIFICATES if name in machine]
    bundle = next((path for path in bundles if path.is_file()), None)
    if bundle is None:
        return environ, []
    place = f"{_PLACE}/certificates.pem"
    return {**environ, **dict.fromkeys(_CERTIFICATES, place)}, [Mount(bundle.resolve(), place)]
