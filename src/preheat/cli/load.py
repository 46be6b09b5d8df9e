"""`preheat load`: a Locust run against a deployed function, every request kept."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from preheat.deploy.deployment import Deployment
    from preheat.deploy.target import Target
    from preheat.load.plan import LoadPlan
    from preheat.load.run import Result

_EXTRA = "preheat.load.extra"


class _WithLocustArguments(click.Command):
    """Keeps what stands behind `--` for Locust, whether FUNCTION was given or not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_EXTRA] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


@click.command(
    name="load", cls=_WithLocustArguments, options_metavar="[OPTIONS]", epilog="Arguments of Locust: behind --"
)
@click.argument("function", required=False)
@click.option("--locustfile", type=click.Path(path_type=Path), help="Default: the deployed project's locustfile.py.")
@click.option("--users", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--spawn-rate", type=click.FloatRange(min=0, min_open=True), default=20, show_default=True, help="Per s.")
@click.option("--run-time", default="60s", show_default=True, help="For example 60s, 5m, 1h30m.")
@click.option("--host", help="What goes before /<stage>/<function>. Default: the deployment's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of this run. Default: runs/<time>-<function>.")
@click.option(
    "--csv", "csv_prefix", type=click.Path(path_type=Path), help="Locust's --csv.  [default: in the run's folder]"
)
@click.option("--html", type=click.Path(path_type=Path), help="Locust's --html.  [default: in the run's folder]")
@click.option("--logfile", type=click.Path(path_type=Path), help="Locust's --logfile.  [default: in the run's folder]")
@click.option("--fresh/--no-fresh", default=True, show_default=True, help="Start without any execution environment.")
@click.option("--fail-on-errors", is_flag=True, help="Exit with status 1 if a request failed.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask before loading a function on AWS.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
@click.pass_context
def command(
    context: click.Context,
    /,
    function: str | None,
    out: Path | None,
    data_dir: Path,
    fresh: bool,
    fail_on_errors: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Load FUNCTION (default: the latest deployment) with Locust and keep every request.

    The run's folder holds requests.csv, the local cloud's journal, run.json and Locust's own logs.
    """
    from preheat.deploy.deployment import find
    from preheat.load.plan import new_run_folder
    from preheat.load.run import run

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        record = find(data_dir, function)
        plan = _plan(function, record, extra=context.meta.get(_EXTRA, ()), **options)
        if record is not None and record.target == "aws" and not yes:
            click.confirm(f"Load {plan.function} on AWS in {record.region}?", abort=True, err=True)
        if fresh and record is not None:
            prepared_at_s = time.time()
            record = _start_fresh(record, data_dir, say)
            plan = replace(plan, function_facts=_recorded_facts(record), prepared_at_s=prepared_at_s)
        facts = {**_asked_facts(plan, record), **plan.function_facts}
        folder = out or new_run_folder(Path("runs"), plan.function)  # only now: all is well so far
        plan = replace(plan, function_facts=facts, out=folder)
        say(f"{plan.users} users for {plan.run_time_s:g} s at {plan.host} -> {plan.out}")
        result = run(plan, None if quiet else sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else describe(result))
    if result.exit_code == 0 and fail_on_errors and result.tally.failures:
        raise SystemExit(1)
    if result.exit_code:
        raise SystemExit(result.exit_code)


def _interrupt(*_: object) -> None:
    """SIGTERM ends a run as Ctrl-C does: Locust is stopped and what there is is kept."""
    raise KeyboardInterrupt


def _plan(function: str | None, record: Deployment | None, *, extra: tuple[str, ...], **options: Any) -> LoadPlan:
    """Join the command line with the deployment's record. Raises PreheatError for what neither says."""
    from preheat.kernel.errors import PreheatError
    from preheat.load.plan import LoadPlan, check_extra, parse_run_time

    check_extra(extra)
    host: str | None = options.pop("host") or (record.host if record else None)
    if host is None:
        missing = f"{function} is not deployed" if function else "nothing is deployed"
        raise PreheatError(f"{missing}: run `preheat deploy DIRECTORY` first, or give --host", 253)
    name = function or (record.function if record else "iris")
    beside = Path(record.project_dir) / "locustfile.py" if record else None
    locustfile = options.pop("locustfile") or (beside if beside and beside.is_file() else Path("locustfile.py"))
    if not locustfile.is_file():
        raise PreheatError(f"{locustfile}: no such locustfile (give --locustfile)", 252)
    run_time_s = parse_run_time(options.pop("run_time"))
    return LoadPlan(
        function=name,
        host=host.rstrip("/"),
        locustfile=locustfile,
        out=Path("runs"),
        target=record.target if record else "local",
        endpoint_url=record.endpoint_url if record else _origin(host),
        run_time_s=run_time_s,
        extra=extra,
        function_facts=_recorded_facts(record) if record else {},
        sample=record.as_dict()["sample"] if record else None,
        **options,
    )


def _recorded_facts(record: Deployment) -> dict[str, Any]:
    """What the deployment's record tells of the function."""
    names = ("version", "memory_mb", "timeout_s", "runtime", "qualifier", "snap_start", "provisioned")
    return {name: getattr(record, name) for name in names}


def _asked_facts(plan: LoadPlan, record: Deployment | None) -> dict[str, Any]:
    """What Lambda itself tells of the function, however it was deployed; nothing where nobody answers: a host given by
    hand need not be a cloud, and a run without these facts is a run all the same."""
    from preheat.deploy.target import connect, spoken
    from preheat.kernel.errors import PreheatError
    from preheat.load.facts import function_facts
    from preheat.load.journal import health

    if record is None and not (plan.endpoint_url and health(plan.endpoint_url)):
        return {}
    try:
        target = _target(plan.target, plan.endpoint_url, record)
        with spoken(target):
            return function_facts(connect(target).lambda_, plan.function, record.qualifier if record else None)
    except PreheatError:
        return {}


def _target(name: str, endpoint_url: str | None, record: Deployment | None) -> Target:
    """Where the run's function is; the environment's variables say nothing about the local cloud."""
    from preheat.deploy.target import choose, profile_settings

    profile = record.profile if record else None
    return choose(
        name,
        endpoint_url=endpoint_url,
        region=record.region if record else None,
        profile=profile,
        environ={} if name == "local" else None,
        profile_config={} if name == "local" else profile_settings(profile),
    )


def _origin(host: str) -> str:
    """The address to ask for a journal, should a local cloud stand behind a host given by hand."""
    from urllib.parse import urlsplit

    parts = urlsplit(host)
    return f"{parts.scheme}://{parts.netloc}"


def _start_fresh(record: Deployment, data_dir: Path, say: Callable[[str], None]) -> Deployment:
    from preheat.deploy.run import start_fresh
    from preheat.deploy.target import connect

    target = _target(record.target, record.endpoint_url, record)
    record = start_fresh(record, target, connect(target), data_dir, say)
    if record.provisioned:
        say(f"{record.function} starts with {record.provisioned} new environments (--no-fresh keeps the old ones)")
    else:
        say(f"{record.function} starts without execution environments (--no-fresh keeps them)")
    return record


def describe(result: Result) -> str:
    """The run in a few lines."""
    facts = result.as_dict()
    lines = [
        f"Requests  {facts['requests']} by {facts['users']} users, {facts['failed']} failed, "
        f"{facts['new_connections']} on a new connection"
    ]
    if facts["requests"]:
        lines.append(
            f"Response  p50 {facts['p50_ms']:.1f} ms, p95 {facts['p95_ms']:.1f} ms, max {facts['max_ms']:.1f} ms"
        )
    if result.journal is not None:
        lines.append(f"Cold      {facts['cold']} cold starts, {facts['environments_started']} environments started")
        if facts["unrecorded"]:
            lines.append(f"Warning   {facts['unrecorded']} answered requests have no record in the journal")
    lines += [f"Run       {facts['run']}", f"Report    preheat report {facts['run']}"]
    return "\n".join(lines)
