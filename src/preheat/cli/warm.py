"""`preheat warm`: keep a number of a function's execution environments alive by invoking them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from preheat.deploy.target import Target
    from preheat.warm.rounds import Round
    from preheat.warm.schedule import Summary

_LOCAL_PATIENCE_S, _AWS_PATIENCE_S = 5.0, 30.0
"""How long a round waits for its log events: there at once locally, within seconds on AWS."""


@click.command(name="warm")
@click.argument("function")
@click.option("--every", default="5m", show_default=True, help="Time between rounds, for example 90s, 5m, 1h30m.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=1, show_default=True, help="Environments to keep.")
@click.option("--for", "for_", help="Stop after this time. Default: at Ctrl-C.")
@click.option("--hold-ms", type=click.IntRange(0, 60_000), default=250, show_default=True, help="Told to the handler.")
@click.option("--event", type=click.Path(path_type=Path), help='Event as JSON. Default: {"preheat": "warm", ...}.')
@click.option("--target", "target_name", type=click.Choice(["local", "aws"]), default="local", show_default=True)
@click.option("--endpoint-url", help="Default: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.")
@click.option("--region", help="Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, or us-east-1 locally.")
@click.option("--profile", help="Profile of the AWS configuration files.")
@click.option("--yes", is_flag=True, help="Do not ask before invoking a function on AWS again and again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: every round, then the summary.")
@click.option("--quiet", is_flag=True, help="Only the summary.")
def command(
    function: str,
    every: str,
    concurrency: int,
    for_: str | None,
    hold_ms: int,
    event: Path | None,
    target_name: str,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Keep execution environments of FUNCTION warm: every so often invoke it, as many times at once as are to be kept.

    The event is {"preheat": "warm", "hold_ms": 250}. A handler should answer it by waiting that long: an
    environment that answers at once may serve two invocations of a round, and another then stays cold.
    """
    from preheat.deploy.target import choose, connect, profile_settings, spoken
    from preheat.warm import rounds
    from preheat.warm.schedule import Summary, due, parse_duration

    every_s = parse_duration(every, "--every")
    for_s = parse_duration(for_, "--for") if for_ else None
    payload = _event(event) if event else rounds.payload(hold_ms)
    settings = profile_settings(profile)
    target = choose(target_name, endpoint_url=endpoint_url, region=region, profile=profile, profile_config=settings)
    if not target.local and not yes:
        click.confirm(f"Invoke {function} in {target.region} {concurrency} times every {every}?", abort=True, err=True)
    summary = Summary()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with spoken(target):
            clients = connect(target)
            configuration = clients.lambda_.get_function_configuration(FunctionName=function)
            client = _client(target, concurrency, configuration["Timeout"])
            group = configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{_name(configuration)}"
            patience_s, poll_s = (_LOCAL_PATIENCE_S, 0.05) if target.local else (_AWS_PATIENCE_S, 2.0)
            for number in due(every_s, for_s, time.monotonic, time.sleep):
                done = rounds.run(
                    number,
                    concurrency,
                    lambda: rounds.invoke_once(client, function, payload),
                    lambda ids, since: rounds.streams_of(clients.logs, group, ids, since, patience_s, poll_s),
                )
                summary.add(done)
                if not quiet:
                    click.echo(json.dumps(done.as_dict()) if as_json else describe(done))
    except KeyboardInterrupt:
        click.echo("", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(json.dumps(summary.as_dict()) if as_json else conclude(summary))


def _event(path: Path) -> bytes:
    from preheat.kernel.errors import PreheatError

    try:
        return json.dumps(json.loads(path.read_text("utf-8"))).encode()
    except (OSError, ValueError) as error:
        raise PreheatError(f"{path}: not JSON: {error}", 252) from error


def _name(configuration: Any) -> str:
    return str(configuration["FunctionName"])


def _client(target: Target, connections: int, timeout_s: int) -> LambdaClient:
    """A Lambda client for many invocations at once that never repeats one by itself."""
    import boto3
    from botocore.config import Config

    known: dict[str, Any] = {"aws_access_key_id": "preheat", "aws_secret_access_key": "preheat"}
    session = boto3.Session(region_name=target.region, **(known if target.local else {"profile_name": target.profile}))
    config = Config(
        max_pool_connections=connections,
        connect_timeout=5,
        read_timeout=timeout_s + 60,  # a cold start comes on top
        retries={"total_max_attempts": 1},
        proxies={} if target.local else None,
    )
    return session.client("lambda", endpoint_url=target.endpoint_url, config=config)


def describe(done: Round) -> str:
    """A round in one line."""
    line = f"{time.strftime('%H:%M:%S', time.localtime(done.at))}  {done.environments} of {done.wanted} environments"
    line += f", {done.cold} cold" + (f" ({max(_cold_times(done)):.0f} ms at most)" if done.cold else "")
    line += f", {done.took_ms:.0f} ms"
    if done.unknown:
        line += f", {done.unknown} answers not in the log yet"
    if done.failed:
        line += f", {done.failed} failed"
    if done.refused:
        line += ", refused: " + ", ".join(f"{count} {code}" for code, count in done.refused.items())
    elif done.environments + done.unknown < done.wanted:
        line += " (some answered twice: let the handler wait hold_ms)"
    return line


def _cold_times(done: Round) -> list[float]:
    return [answer.cold_ms for answer in done.answers if answer.cold_ms is not None]


def conclude(summary: Summary) -> str:
    """The whole schedule in one line."""
    line = f"{summary.rounds} rounds, {summary.invocations} invocations, {summary.cold} of them cold"
    if summary.fewest is not None:
        line += f", at least {summary.fewest} environments warm after each round"
    if summary.failed:
        line += f", {summary.failed} failed"
    if summary.refused:
        line += f", {summary.refused} refused"
    return line
