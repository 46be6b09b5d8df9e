"""Building an image from a Dockerfile without a daemon."""

from __future__ import annotations

import tempfile
from pathlib import Path

from preheat.kernel.errors import PreheatError
from preheat.oci.dockerfile import DockerfileError, Instruction, parse, substitute
from preheat.oci.dockerignore import Context
from preheat.oci.image_config import NOT_BUILT, declared
from preheat.oci.manifest import Descriptor
from preheat.oci.plan import BaseImage, BuildPlan, BuildTools, architecture, is_own_platform
from preheat.oci.stage import Stage, Surroundings
from preheat.oci.tree import Tree


def build(plan: BuildPlan, tools: BuildTools) -> Descriptor:
    """Build and return the image's manifest, which is in the layout then. Raises DockerfileError, OSError."""
    instructions = parse(plan.dockerfile.read_text("utf-8"))
    with tempfile.TemporaryDirectory(dir=tools.layout.root, prefix=".build-") as work:
        stages = _Stages(plan, tools, Path(work))
        for instruction in instructions:
            stages.take(instruction)
            if stages.complete(instruction, instructions):
                break
        return stages.result().save()


class _Stages:
    """The stages of one Dockerfile, in order, and the ARGs before the first."""

    def __init__(self, plan: BuildPlan, tools: BuildTools, work: Path) -> None:
        self._plan = plan
        self._tools = tools
        context = Context(plan.context, plan.dockerfile)
        self._around = Surroundings(plan, tools, context, work, _platform_arguments(), self._tree)
        self._list: list[Stage] = []
        self._names: dict[str, Stage] = {}

    def take(self, instruction: Instruction) -> None:
        if instruction.name == "FROM":
            self._from(instruction)
        elif self._list:
            self._list[-1].take(instruction)
        elif instruction.name == "ARG":
            arguments = self._around.arguments
            arguments.update(declared(instruction, arguments, self._plan.build_args))
        else:
            raise instruction.fail(f"{instruction.name} before the first FROM")

    def complete(self, instruction: Instruction, everything: list[Instruction]) -> bool:
        """Whether the target stage ends with this instruction."""
        if self._plan.target is None or self._plan.target.lower() not in self._names:
            return False
        following = everything[everything.index(instruction) + 1 :]
        at_end = not following or following[0].name == "FROM"
        return at_end and self._names[self._plan.target.lower()] is self._list[-1]

    def result(self) -> Stage:
        if self._plan.target is not None:
            wanted = self._names.get(self._plan.target.lower())
            if wanted is None:
                raise DockerfileError(1, f"there is no stage {self._plan.target!r}")
            return wanted
        if not self._list:
            raise DockerfileError(1, "there is no FROM")
        return self._list[-1]

    def _from(self, instruction: Instruction) -> None:
        if set(instruction.flags) - {"platform"}:
            raise instruction.fail(f"FROM --{next(iter(instruction.flags))} {NOT_BUILT}")
        wanted = substitute(instruction.flags.get("platform", "$TARGETPLATFORM"), self._around.arguments)
        if not is_own_platform(wanted):
            raise instruction.fail(f"FROM --platform={wanted} (here is linux/{architecture()}) {NOT_BUILT}")
        words = instruction.words(self._around.arguments)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
            raise instruction.fail("FROM is: FROM image [AS name]")
        parent = self._names.get(words[0].lower())
        if parent is not None:
            stage = parent.child()
        elif words[0] == "scratch":
            stage = Stage(self._around, BaseImage((), {}))
        else:
            stage = self._of(instruction, words[0])
        self._names[str(len(self._list))] = stage
        self._list.append(stage)
        if len(words) == 3:
            self._names[words[2].lower()] = stage
        if parent is None:
            stage.take_triggers(instruction.line)

    def _of(self, instruction: Instruction, name: str) -> Stage:
        """A stage that begins with an image's layers."""
        try:
            return Stage(self._around, self._tools.find_base(name))
        except (ValueError, RuntimeError, PreheatError) as error:
            raise instruction.fail(f"{instruction.name} {name}: {error}") from None

    def _tree(self, instruction: Instruction, name: str) -> Tree:
        """The files that `COPY --from=name` copies from: another stage's, or another image's."""
        stage = self._names.get(name.lower())
        if stage is not None and stage is not self._list[-1]:
            return stage.tree()
        return self._of(instruction, name).tree()


def _platform_arguments() -> dict[str, str]:
    """The platform ARGs that BuildKit defines by itself."""
    own = architecture()
    both = {"PLATFORM": f"linux/{own}", "OS": "linux", "ARCH": own}
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in both.items()}
