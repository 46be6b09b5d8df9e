"""`preheat up`: the local cloud, in the foreground or detached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("up")
@click.option("--host", help="Address to listen on (default 127.0.0.1: this machine only).")
@click.option("--port", type=int, help="Port for everything (default 4566; 0 takes a free one).")
@click.option(
    "--tls",
    is_flag=False,
    flag_value="on",
    type=click.Choice(["off", "on"]),
    help="HTTPS as well, on the next port, with a certificate of our own.",
)
@click.option("--data-dir", type=click.Path(file_okay=False), help="Where state lives (default .preheat).")
@click.option("--region", help="Region that ARNs name (default us-east-1).")
@click.option("--account-id", help="Account that ARNs name (default 000000000000).")
@click.option("--max-inits", type=int, help="Environments initialising at once (default: the number of cores).")
@click.option("--max-environments", type=int, help="Environments alive at once (default 4000).")
@click.option("--memory-budget-mb", type=int, help="Estimated memory of environments (default: 3/4 of the machine's).")
@click.option("--spares-max", type=int, help="Snapshot children forked ahead, per function (default 8; 0: none).")
@click.option("--account-concurrency", type=int, help="Concurrent executions per account (default 1000).")
@click.option("--keep-alive-s", type=float, help="Idle environments are shut down after this (default 600).")
@click.option("--async-retry-s", type=float, help="First retry of a failed asynchronous invocation (default 60).")
@click.option("--freeze-grace-ms", type=float, help="Idle environments are frozen after this (default 5).")
@click.option(
    "--linger-us", type=int, help="Poll this long before sleeping, where a core is idle (default 250; 0: never)."
)
@click.option("--transport", type=click.Choice(["socket", "http"]), help="Runtime client's way (default socket).")
@click.option("--sandbox", type=click.Choice(["process"]), help="Where functions run (default process).")
@click.option(
    "--image-sandbox",
    type=click.Choice(["auto", "container", "docker", "process"]),
    help="Where functions from images run (default auto: the first of these that this machine has).",
)
@click.option("--docker-host", help="Docker's engine, unix:///path (default: DOCKER_HOST, else the usual sockets).")
@click.option(
    "--container-network",
    type=click.Choice(["isolated", "host"]),
    help="What functions from images can reach (default isolated).",
)
@click.option("-d", "--detach", is_flag=True, help="Return once it answers; stop it with `preheat down`.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(detach: bool, quiet: bool, **options: Any) -> None:
    """Start the local cloud: Lambda, API Gateway, CloudWatch logs and metrics, STS and IAM on one port."""
    from preheat import config

    settings = config.load(Path.cwd(), options)
    if detach:
        from preheat.cli import control

        running = control.start_detached(settings)
        if not quiet:
            click.echo(f"preheat is up: {running.endpoint_url} (pid {running.pid}); stop it with: preheat down")
        return
    from preheat import server

    def ready(endpoint_url: str, notes: list[str]) -> None:
        if quiet:
            return
        click.echo(f"preheat is up: {endpoint_url} (Ctrl-C stops it)")
        click.echo(f'AWS clients find it after: eval "$(preheat env --endpoint-url {endpoint_url})"')
        for note in notes:
            click.echo(f"note: {note}", err=True)

    server.run(settings, ready)
