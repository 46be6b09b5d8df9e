"""The configuration of an image being built, and the instructions that only change it (image-spec, config.md)."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from preheat.oci.dockerfile import Instruction

_SHELL = ["/bin/sh", "-c"]
_UNITS_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_HEALTH_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
NOT_BUILT = "is not built in preheat: use docker build"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""ARGs that need no declaration, in lower case too, and are no part of the image (Dockerfile reference,
"Predefined ARGs")."""


class ImageConfig:
    """`values` is the `config` of the configuration but for Env, which is `environ` here."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = json.loads(json.dumps(base))
        self.environ: dict[str, str] = dict(item.partition("=")[::2] for item in self.values.pop("Env", None) or ())
        self.arguments: dict[str, str] = {}
        self.author = ""
        self._own_command = False

    def as_dict(self) -> dict[str, Any]:
        env = [f"{key}={value}" for key, value in self.environ.items()]
        return {**self.values, "Env": env} if env else dict(self.values)

    @property
    def variables(self) -> dict[str, str]:
        """What an instruction may name: ENV wins over ARG."""
        return {**self.arguments, **self.environ}

    @property
    def shell(self) -> list[str]:
        return list(self.values.get("Shell") or _SHELL)

    def absolute(self, path: str) -> str:
        """A path of the image, relative ones from the working directory."""
        return posixpath.normpath(posixpath.join("/", self.values.get("WorkingDir") or "/", path))

    def command(self, instruction: Instruction) -> list[str]:
        """The words that start what an instruction says: the JSON form as it is, the other one for the shell."""
        array = instruction.array()
        return array if array is not None else [*self.shell, instruction.text]

    def take(self, instruction: Instruction) -> bool:
        """Carry out an instruction that changes nothing but the configuration; False where it is none of them.

        Raises DockerfileError.
        """
        method: Callable[[Instruction], None] | None = getattr(self, f"_do_{instruction.name.lower()}", None)
        if method is None:
            return False
        method(instruction)
        return True

    def _do_env(self, instruction: Instruction) -> None:
        self.environ.update(instruction.pairs(self.variables))

    def _do_label(self, instruction: Instruction) -> None:
        self._merge("Labels", instruction.pairs(self.variables))

    def _do_maintainer(self, instruction: Instruction) -> None:
        self.author = instruction.expand(self.variables)

    def _do_user(self, instruction: Instruction) -> None:
        self.values["User"] = instruction.expand(self.variables)

    def _do_expose(self, instruction: Instruction) -> None:
        ports = (port if "/" in port else f"{port}/tcp" for port in instruction.words(self.variables))
        self._merge("ExposedPorts", {port: {} for port in ports})

    def _do_volume(self, instruction: Instruction) -> None:
        array = instruction.array()
        names = array if array is not None else instruction.words(self.variables)
        self._merge("Volumes", {name: {} for name in names})

    def _do_stopsignal(self, instruction: Instruction) -> None:
        self.values["StopSignal"] = instruction.expand(self.variables)

    def _do_shell(self, instruction: Instruction) -> None:
        array = instruction.array()
        if not array:
            raise instruction.fail('SHELL is: SHELL ["program", "argument"]')
        self.values["Shell"] = array

    def _do_cmd(self, instruction: Instruction) -> None:
        self.values["Cmd"] = self.command(instruction)
        self._own_command = True

    def _do_entrypoint(self, instruction: Instruction) -> None:
        self.values["Entrypoint"] = self.command(instruction)
        if not self._own_command:  # the base's CMD was meant for the base's entry point
            self.values.pop("Cmd", None)

    def _do_healthcheck(self, instruction: Instruction) -> None:
        """Kept as Docker keeps it; nobody on Lambda asks."""
        word, _, rest = instruction.text.partition(" ")
        if word.upper() == "NONE":
            self.values["Healthcheck"] = {"Test": ["NONE"]}
            return
        if word.upper() != "CMD" or not rest.strip():
            raise instruction.fail("HEALTHCHECK is: HEALTHCHECK [--interval=30s ...] CMD command, or NONE")
        array = Instruction("CMD", rest.strip(), instruction.line).array()
        health: dict[str, Any] = {"Test": ["CMD", *array] if array is not None else ["CMD-SHELL", rest.strip()]}
        for flag, value in instruction.flags.items():
            if flag == "retries" and value.isdecimal():
                health["Retries"] = int(value)
            elif flag in _HEALTH_TIMES:
                health[_HEALTH_TIMES[flag]] = _duration_ns(instruction, value)
            else:
                raise instruction.fail(f"HEALTHCHECK --{flag}={value} {NOT_BUILT}")
        self.values["Healthcheck"] = health

    def _do_onbuild(self, instruction: Instruction) -> None:
        if instruction.text.split(None, 1)[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
            raise instruction.fail(f"ONBUILD {instruction.text.split(None, 1)[0].upper()} is not allowed")
        self.values["OnBuild"] = [*(self.values.get("OnBuild") or ()), instruction.text]

    def _merge(self, key: str, more: Mapping[str, Any]) -> None:
        self.values[key] = {**(self.values.get(key) or {}), **more}


def declared(instruction: Instruction, variables: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What ARG declares: the value given from outside, else its default; without either it stays undefined."""
    found: dict[str, str] = {}
    for word in instruction.words(variables):
        name, equals, default = word.partition("=")
        if name in given:
            found[name] = given[name]
        elif equals:
            found[name] = default
    return found


def told(arguments: list[str], shell: list[str]) -> str:
    """A command as a person would type it."""
    return arguments[-1] if arguments[:-1] == shell else shlex.join(arguments)


def _duration_ns(instruction: Instruction, text: str) -> int:
    """Go's durations: 30s, 1m30s, 500ms."""
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text or not text:
        raise instruction.fail(f"{text!r} is no duration (30s, 1m30s)")
    return int(sum(float(number) * _UNITS_NS[unit] for number, unit in parts))
