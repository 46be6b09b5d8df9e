"""`preheat run`: one function at the address of AWS's emulator, as `docker run -p 8080:8080` serves it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from preheat.deploy.deployment import Plan
    from preheat.deploy.target import Clients, Target

_NAME = "function"
"""What AWS's emulator calls the one function it serves, in its path."""
_PATH = f"/2015-03-31/functions/{_NAME}/invocations"
_LOOK_S = 0.2


@click.command("run")
@click.argument("what", metavar="IMAGE_OR_DIR")
@click.option("-p", "--publish", "publish", default="8080", show_default=True, help="Port, as PORT or PORT:8080.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-e", "--env", "variables", multiple=True, metavar="K=V", help="Environment variable of the function.")
@click.option("--memory", "memory_mb", type=click.IntRange(128, 10240), default=3008, show_default=True, help="MB.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1, 900), default=300, show_default=True, help="Seconds.")
@click.option("--runtime", default="python3.11", show_default=True, help="Of a directory without a Dockerfile.")
@click.option("--handler", default="lambda_function.lambda_handler", show_default=True, help="Of such a directory.")
@click.option(
    "--container-network",
    type=click.Choice(["isolated", "host"]),
    default="host",
    show_default=True,
    help="What the function can reach; host is what docker run gives it.",
)
@click.option(
    "--image-sandbox",
    type=click.Choice(["auto", "container", "docker", "process"]),
    help="Where an image runs (default auto: what this machine has).",
)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--quiet", is_flag=True, help="Neither progress nor the function's log.")
def command(what: str, publish: str, host: str, data_dir: Path, quiet: bool, **options: Any) -> None:
    """Serve IMAGE_OR_DIR at http://HOST:PORT/2015-03-31/functions/function/invocations until Ctrl-C.

    IMAGE is a local image, as `preheat build` names it. DIR is built from its Dockerfile, or without one deployed as
    it is. Requests that come at once are served at once, each by an environment of its own; the function's log goes
    to standard output.
    """
    from preheat import config, server
    from preheat.cli.images import image_sandbox

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    port = _port(publish)
    state = data_dir / f"run-{port}"
    network, sandbox = options.pop("container_network"), options.pop("image_sandbox")
    settings = config.load(
        Path.cwd(),
        {"data_dir": state, "host": host, "port": port, "container_network": network, "image_sandbox": sandbox},
    )
    serving = _Serving(what, data_dir, options, say, quiet, image_sandbox(settings.image_sandbox).kind)
    server.run(settings, serving.begin)
    if serving.failure is not None:
        raise serving.failure


@dataclass
class _Serving:
    """What happens beside the server, in a thread: the function is made, then its log is followed."""

    what: str
    data_dir: Path
    options: dict[str, Any]
    say: Callable[[str], None]
    quiet: bool
    sandbox: str
    """Where functions from images run."""
    failure: Exception | None = None

    def begin(self, endpoint_url: str, notes: list[str]) -> None:
        threading.Thread(target=self._work, args=(endpoint_url,), daemon=True).start()

    def _work(self, endpoint_url: str) -> None:
        from preheat.deploy.target import choose, connect, spoken

        target = choose("local", endpoint_url=endpoint_url, environ={})
        try:
            with spoken(target):
                clients = connect(target)
                how = self._create(target, clients)
        except Exception as error:
            self.failure = error
            os.kill(os.getpid(), signal.SIGTERM)  # ends the server, which then says why
            return
        click.echo(f"serving {self.what} ({how}) at {endpoint_url}{_PATH} (Ctrl-C stops it)")
        if not self.quiet:
            _follow(clients)

    def _create(self, target: Target, clients: Clients) -> str:
        """Returns how the function is run, in a word or two."""
        from preheat.deploy import bundle, functions
        from preheat.deploy.deployment import Plan

        directory = Path(self.what)
        variables = _variables(self.options.pop("variables"))
        image = not directory.is_dir() or (directory / "Dockerfile").is_file()
        plan = Plan(directory, _NAME, environment=variables, image=image, **self.options)
        if image:
            code = {"ImageUri": self._published(plan, target)}
        else:
            cache = self.data_dir / "build"
            built = bundle.build(
                directory, _NAME, plan.runtime, plan.handler, for_aws=False, cache_dir=cache, say=self.say
            )
            code = functions.code_argument(target, str(built))
        role = clients.iam.get_role(RoleName="LabRole")["Role"]["Arn"]
        functions.put(clients, target, plan, role, code, self.say)
        return f"{self.sandbox if image else 'process'} sandbox"

    def _published(self, plan: Plan, target: Target) -> str:
        """Bring the image into the registry of this very server; returns its URI there."""
        from preheat.cli.images import publish_directory, push_image
        from preheat.kernel.errors import PreheatError
        from preheat.oci.reference import Reference
        from preheat.oci.workshop import Workshop

        assert target.endpoint_url is not None
        destination = Reference(target.endpoint_url.partition("://")[2], _NAME, "latest", "")
        if plan.project_dir.is_dir():
            return publish_directory(plan.project_dir, destination, "preheat", self.data_dir, None, self.say)
        workshop = Workshop(self.data_dir)
        try:
            image = workshop.find(self.what)
        except ValueError as error:
            raise PreheatError(str(error), 252) from None
        if image is None:
            known = ", ".join(workshop.layout.names()) or "none yet"
            raise PreheatError(f"{self.what}: neither a directory nor a local image (there are: {known})", 252)
        push_image(workshop.layout, image, destination, self.say, create=True)
        return str(destination)


def _follow(clients: Clients) -> None:
    """Print what the function's log gets from now on, until the server has gone."""
    group, since_ms, seen = f"/aws/lambda/{_NAME}", int(time.time() * 1000), set[str]()
    while True:
        try:
            pages = clients.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
            events = [event for page in pages for event in page["events"] if event["eventId"] not in seen]
        except clients.logs.exceptions.ResourceNotFoundException:
            events = []  # nothing has run yet
        except Exception:
            return
        for event in events:
            click.echo(event["message"], nl=not event["message"].endswith("\n"))
        if events:
            since_ms = max(event["timestamp"] for event in events)
            seen = {event["eventId"] for event in events if event["timestamp"] == since_ms} | (
                seen if len(seen) < 10_000 else set()
            )
        time.sleep(_LOOK_S)


def _port(text: str) -> int:
    from preheat.kernel.errors import PreheatError

    port, colon, inside = text.partition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536 or (colon and inside != "8080"):
        raise PreheatError(f"-p {text}: give a port, or PORT:8080", 252)
    return int(port)


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    from preheat.kernel.errors import PreheatError

    for pair in pairs:
        if "=" not in pair or pair.startswith("="):
            raise PreheatError(f"--env {pair}: give NAME=VALUE", 252)
    return dict(pair.split("=", 1) for pair in pairs)
