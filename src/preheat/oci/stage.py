"""One stage of a build: its layers, its files and its configuration, changed instruction by instruction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from preheat.oci.changes import changes, settle
from preheat.oci.copying import Source, extracted, from_context, from_documents, from_tree, placements
from preheat.oci.dockerfile import DockerfileError, Instruction, parse, substitute
from preheat.oci.dockerignore import Context
from preheat.oci.image_config import NOT_BUILT, ImageConfig, declared, told
from preheat.oci.lambda_base import OWN_BASE_LABEL
from preheat.oci.layer_cache import read_cached, write_cached
from preheat.oci.layers import Layer
from preheat.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor
from preheat.oci.pack import PackedLayer, pack
from preheat.oci.pip_step import PipInstall, PipStep, parse_run, python_of
from preheat.oci.plan import BaseImage, BuildPlan, BuildTools, architecture
from preheat.oci.run_step import RunStep, number, proxies
from preheat.oci.tree import Entry, Tree, directory

_CREATED = "1980-01-01T00:00:00Z"
"""Of every built image: the time of a build is no part of what is built."""
MOUNTS = "mounts"
"""Of a layout's directory: the caches that `RUN --mount=type=cache` keeps from build to build."""
_MOST_LAYERS = 40
"""mount(2) takes a page of options, and each layer's directory takes 80 bytes of it; more are unpacked into one."""
_OWN_BASE_HINT = (
    " (a base made here has a shell, the usual small tools and Python, but no package manager: bring AWS's own base "
    "with skopeo copy, or use docker build)"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the stages of one build share. `arguments` are the ARGs before the first FROM, `work` is a directory that
    goes with the build, `find_tree` gives the files that `COPY --from` names."""

    plan: BuildPlan
    tools: BuildTools
    context: Context
    work: Path
    arguments: dict[str, str]
    find_tree: Callable[[Instruction, str], Tree]


class Stage:
    """`take` carries out instructions in order; `tree` and `save` show what has become of them."""

    def __init__(self, around: Surroundings, base: BaseImage, parent: Stage | None = None) -> None:
        self._around = around
        self._tools = around.tools
        self.layers: list[PackedLayer] = list(base.layers)
        self.config = ImageConfig(base.config)
        self._lowest: Path | None = parent._lowest if parent else self._flat(self.layers)
        """All layers of the base in one directory, which is kept from build to build."""
        self._own: list[PackedLayer] = list(parent._own) if parent else []
        """The layers above that."""
        self._tree = parent.tree().copy() if parent else Tree(self._lowest)
        self._unseen: list[PackedLayer] = []
        """Layers that are not in `_tree` yet."""

    def child(self) -> Stage:
        """A stage that goes on from this one."""
        return Stage(self._around, BaseImage(tuple(self.layers), self.config.as_dict()), self)

    def take(self, instruction: Instruction) -> None:
        """Carry out one instruction. Raises DockerfileError."""
        if self.config.take(instruction):
            return
        method: Callable[[Instruction], None] | None = getattr(self, f"_do_{instruction.name.lower()}", None)
        if method is None:
            raise instruction.fail(f"{instruction.name} {NOT_BUILT}")
        try:
            method(instruction)
        except DockerfileError:
            raise
        except (ValueError, RuntimeError) as error:
            raise instruction.fail(f"{instruction.name}: {error}") from None

    def take_triggers(self, line: int) -> None:
        """Carry out what the base's ONBUILD says, which is not handed on. Raises DockerfileError for the FROM."""
        for text in self.config.values.pop("OnBuild", None) or ():
            try:
                for instruction in parse(text):
                    self.take(instruction)
            except DockerfileError as error:
                raise DockerfileError(line, f"ONBUILD {text}: {str(error).partition(': ')[2]}") from None

    def tree(self) -> Tree:
        """Every file there is by now."""
        unseen, self._unseen = self._unseen, []
        for layer in self._directories(unseen):
            self._tree.apply(layer)
        return self._tree

    def save(self) -> Descriptor:
        """Write configuration and manifest."""
        blobs = self._tools.layout.blobs
        configuration = {
            "created": _CREATED,
            **({"author": self.config.author} if self.config.author else {}),
            "architecture": architecture(),
            "os": "linux",
            "config": self.config.as_dict(),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": [{"created": _CREATED, "created_by": "preheat build"} for _ in self.layers],
        }
        body = _json(configuration)
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": Descriptor(OCI_CONFIG, blobs.put(body), len(body)).as_dict(),
                "layers": [layer.descriptor.as_dict() for layer in self.layers],
            }
        )
        return Descriptor(OCI_MANIFEST, blobs.put(manifest), len(manifest))

    # instructions

    def _do_arg(self, instruction: Instruction) -> None:
        outer = {**self._around.arguments, **self._around.plan.build_args}
        self.config.arguments.update(declared(instruction, self.config.variables, outer))

    def _do_workdir(self, instruction: Instruction) -> None:
        path = self.config.absolute(instruction.expand(self.config.variables))
        self.config.values["WorkingDir"] = path
        tree = self.tree()
        if tree.get(tree.resolve(path)) is None:
            self._add([directory(tree.resolve(path).strip("/"))])

    def _do_copy(self, instruction: Instruction) -> None:
        self._check_flags(instruction, {"from", "chown", "chmod", "link"})
        patterns, target = self._sources_and_target(instruction)
        other = instruction.flags.get("from")
        if other:
            tree = self._around.find_tree(instruction, substitute(other, self.config.variables))
            sources = from_tree(tree, patterns)
        else:
            sources = from_documents(instruction, patterns, self.config.variables)
            sources += from_context(self._around.context, patterns)
        self._place(instruction, sources, target)

    def _do_add(self, instruction: Instruction) -> None:
        self._check_flags(instruction, {"chown", "chmod", "link"})
        patterns, target = self._sources_and_target(instruction)
        if any("://" in pattern or pattern.startswith("git@") for pattern in patterns):
            raise instruction.fail(f"ADD of a URL {NOT_BUILT}")
        sources = from_documents(instruction, patterns, self.config.variables)
        for found in from_context(self._around.context, patterns):
            path = found.root.source
            sources.append((extracted(path, self._work("add")) if path is not None else None) or found)
        self._place(instruction, sources, target)

    def _do_run(self, instruction: Instruction) -> None:
        """In a container; but pip alone by the interpreter that an own base is made of: the same interpreter and
        libraries, with this machine's settings and cache."""
        in_container = self._tools.runner is not None
        installs: list[PipInstall] | None = None
        if self._on_own_base or not in_container:
            try:
                installs = parse_run(instruction, self.config.variables)
            except DockerfileError as error:
                if not in_container:
                    why = f"no container can be started: {self._tools.no_runner}"
                    raise DockerfileError(error.line, f"{str(error).partition(': ')[2]} ({why})") from None
        if installs is None:
            self._run(instruction)
            return
        version = python_of(self._tree)
        if version is None:
            raise instruction.fail(f"RUN in an image without Lambda's Python {NOT_BUILT}")
        step = PipStep(self._tools.interpreter(version), version, own_base=self._on_own_base, say=self._tools.say)
        for install in installs:
            self._install(step, install)

    # parts

    @property
    def _on_own_base(self) -> bool:
        return OWN_BASE_LABEL in (self.config.values.get("Labels") or {})

    def _run(self, instruction: Instruction) -> None:
        runner, plan = self._tools.runner, self._around.plan
        assert runner is not None
        self._check_flags(instruction, {"mount", "network"})
        step = RunStep(
            instruction,
            self.config,
            self.tree(),
            self._work("run"),
            self._around.context.root,
            self._tools.layout.root / MOUNTS,
            self._tools.machine,
        )
        what = _short(told(step.arguments, self.config.shell))
        key = step.key([layer.diff_id for layer in self.layers])
        layer = self._remembered(key, f"RUN {what}")
        if layer is not None:
            self._unseen.append(layer)
            return
        self._tools.say(f"RUN {what}")
        command = step.command(self._lower(), proxies(plan.build_args))
        try:
            upper = runner.run(command, self._tools.say)
        except RuntimeError as error:
            hint = _OWN_BASE_HINT if self._on_own_base and "exit status 127" in str(error) else ""
            raise instruction.fail(f"RUN {what}: {error}{hint}") from None
        settle(upper)
        layer = pack(changes(upper), self._tools.layout.blobs)
        self._keep(key, layer)
        self.tree().apply(upper)

    def _install(self, step: PipStep, install: PipInstall) -> None:
        tree, workdir = self.tree(), self.config.absolute("")
        key = step.key(install, [layer.diff_id for layer in self.layers], workdir)
        layer = self._remembered(key, f"pip install {' '.join(install.arguments)}")
        if layer is not None:
            self._unseen.append(layer)
            return
        added: list[Entry] = []
        for entry in step.run(install, tree, workdir, self._work("pip")):
            added += tree.add(entry)
        self._keep(key, pack(added, self._tools.layout.blobs))

    def _remembered(self, key: str, what: str) -> PackedLayer | None:
        """The layer that the same step has left before, taken."""
        layer = read_cached(self._note(key), self._tools.layout) if self._around.plan.cached else None
        if layer is not None:
            self._tools.say(f"{what}: cached")
            self.layers.append(layer)
            self._own.append(layer)
        return layer

    def _keep(self, key: str, layer: PackedLayer) -> None:
        write_cached(self._note(key), layer)
        self.layers.append(layer)
        self._own.append(layer)

    def _note(self, key: str) -> Path:
        return self._tools.layout.root / "cache" / f"{key}.json"

    def _work(self, what: str) -> Path:
        """A directory of a step's own, which stays until the build ends."""
        path = self._around.work / f"{what}-{sum(1 for _ in self._around.work.iterdir())}"
        path.mkdir()
        return path

    def _place(self, instruction: Instruction, sources: list[Source], target: str) -> None:
        flags, variables = instruction.flags, self.config.variables
        chmod, chown = flags.get("chmod"), flags.get("chown")
        mode = int(substitute(chmod, variables), 8) if chmod else None
        owner = self._owner(substitute(chown, variables)) if chown else None
        self._add(placements(sources, target, self.tree(), mode=mode, owner=owner))

    def _add(self, entries: Iterable[Entry]) -> None:
        added: list[Entry] = []
        tree = self.tree()
        for entry in entries:
            added += tree.add(entry)
        layer = pack(added, self._tools.layout.blobs)
        self.layers.append(layer)
        self._own.append(layer)

    def _owner(self, text: str) -> tuple[int, int]:
        name, _, group = text.partition(":")
        uid = number(self.tree(), name, "/etc/passwd")
        return uid, number(self.tree(), group, "/etc/group") if group else uid

    def _sources_and_target(self, instruction: Instruction) -> tuple[list[str], str]:
        array = instruction.array()
        if array is not None:
            words = [substitute(item, self.config.variables) for item in array]
        else:
            words = instruction.words(self.config.variables)
        if len(words) < 2:
            raise instruction.fail(f"{instruction.name} needs a source and a destination")
        target = self.config.absolute(words[-1])
        keeps_slash = words[-1].endswith(("/", "/.")) or words[-1] in (".", "./")
        return words[:-1], f"{target.rstrip('/')}/" if keeps_slash else target

    def _check_flags(self, instruction: Instruction, known: set[str]) -> None:
        for flag in instruction.flags:
            if flag not in known:
                raise instruction.fail(f"{instruction.name} --{flag} {NOT_BUILT}")

    # directories

    def _lower(self) -> tuple[Path, ...]:
        """What a container's root is made of."""
        if len(self._own) > _MOST_LAYERS:
            flat = self._flat(self.layers)
            return (flat,) if flat else ()
        return (*((self._lowest,) if self._lowest else ()), *self._directories(self._own))

    def _directories(self, layers: list[PackedLayer]) -> tuple[Path, ...]:
        return self._tools.layers.directories([_layer(layer) for layer in layers])

    def _flat(self, layers: list[PackedLayer]) -> Path | None:
        return self._tools.layers.flat([_layer(layer) for layer in layers]) if layers else None


def _layer(packed: PackedLayer) -> Layer:
    return Layer(packed.descriptor.digest, packed.diff_id)


def _short(text: str) -> str:
    first, _, more = text.strip().partition("\n")
    return f"{first[:77]}..." if len(first) > 80 or more else first


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
