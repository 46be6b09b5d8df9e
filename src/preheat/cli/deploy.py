"""`preheat deploy`: a project's folder becomes a Lambda function behind a REST API."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from preheat.deploy.deployment import Deployment, Plan
    from preheat.deploy.target import Clients, Target


@click.command(name="deploy")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--name", help="Function name. Default: the directory's name.")
@click.option("--memory", "memory_mb", type=click.IntRange(128, 10240), default=512, show_default=True, help="MB.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1, 900), default=30, show_default=True, help="Seconds.")
@click.option("--runtime", default="python3.11", show_default=True)
@click.option("--handler", default="lambda_function.lambda_handler", show_default=True)
@click.option("--stage", default="default", show_default=True, help="Stage of the REST API.")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="Environment variable of the function.")
@click.option("--role", default="LabRole", show_default=True, help="Execution role, by name.")
@click.option("--image", is_flag=True, help="As a container image, built from DIRECTORY's Dockerfile.")
@click.option(
    "--builder",
    type=click.Choice(["preheat", "docker"]),
    default="preheat",
    show_default=True,
    help="What builds and pushes the image.",
)
@click.option("--snapstart", "snap_start", is_flag=True, help="Publish a version restored from a snapshot.")
@click.option(
    "--provisioned",
    type=click.IntRange(min=1),
    help="Publish a version with this many environments always initialised.",
)
@click.option("--target", "target_name", type=click.Choice(["local", "aws"]), default="local", show_default=True)
@click.option("--endpoint-url", help="Default: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.")
@click.option("--region", help="Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, or us-east-1 locally.")
@click.option("--profile", help="Profile of the AWS configuration files.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask before changing a real AWS account.")
@click.option("--json", "as_json", is_flag=True, help="Print the deployment as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    directory: Path,
    name: str | None,
    target_name: str,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    variables: tuple[str, ...],
    provisioned: int | None,
    image: bool,
    builder: str,
    data_dir: Path,
    yes: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Deploy DIRECTORY as a Lambda function behind a REST API, and try it.

    Installs requirements.txt, creates or updates the function and the API, sends sample.json once, and
    prints the URL, the commands to call it, the answer and that invocation's log. With --image it builds the
    directory's Dockerfile instead and pushes it to the repository of the function's name. With --snapstart or
    --provisioned the API calls the alias `live` of a published version.
    """
    from preheat.deploy.deployment import Plan
    from preheat.deploy.run import deploy
    from preheat.deploy.target import choose, connect, profile_settings
    from preheat.kernel.errors import PreheatError

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if not directory.is_dir():
        raise PreheatError(f"{directory}: no such directory", 252)
    plan = Plan(
        directory,
        name or directory.resolve().name,
        environment=_variables(variables),
        provisioned=provisioned or 0,
        image=image,
        **options,
    )
    settings = profile_settings(profile)
    target = choose(target_name, endpoint_url=endpoint_url, region=region, profile=profile, profile_config=settings)
    if not target.local and not yes:
        click.confirm(f"Deploy {plan.name} to your AWS account in {target.region}?", abort=True, err=True)
    clients = connect(target)
    make_image = partial(_image, plan, target, clients, builder, data_dir, say) if image else None
    record = deploy(plan, target, clients, data_dir, say, make_image)
    click.echo(json.dumps(record.as_dict(), indent=2) if as_json else describe(record))


def _image(
    plan: Plan, target: Target, clients: Clients, builder: str, data_dir: Path, say: Callable[[str], None]
) -> str:
    """Build the project's image into the repository of the function's name; returns its URI."""
    from preheat.cli.images import publish_directory
    from preheat.kernel.errors import PreheatError
    from preheat.oci.reference import Reference

    if target.endpoint_url is not None:
        registry = urlsplit(target.endpoint_url).netloc
    else:
        account = clients.sts.get_caller_identity()["Account"]
        registry = f"{account}.dkr.ecr.{target.region}.amazonaws.com"
    try:
        reference = Reference.parse(f"{registry}/{plan.name.lower()}")
    except ValueError as error:
        raise PreheatError(f"{error}: give --name", 252) from None
    return publish_directory(plan.project_dir, reference, builder, data_dir, target.profile, say)


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    from preheat.kernel.errors import PreheatError

    variables: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise PreheatError(f"--env {pair}: give NAME=VALUE", 252)
        variables[key] = value
    return variables


def describe(record: Deployment) -> str:
    """The result for a person: where it is, how to call it, what it answered, what its log says."""
    sample = record.sample
    events = [f"  {event['message'].rstrip()}" for event in sample.log_events] or ["  (none yet)"]
    return "\n".join(
        [
            f"URL       {record.url}",
            f"Function  {record.function_arn}",
            *_serving(record),
            "",
            "Call it (Linux, macOS)",
            f"  {record.curl}",
            "Call it (PowerShell)",
            *(f"  {line}" for line in record.invoke_web_request.splitlines()),
            "",
            f"Request   {sample.request['method']} {sample.request['url']}",
            f"  {sample.request['body']}",
            f"Answer    {sample.response['status']} in {sample.response['ms']:.0f} ms",
            f"  {sample.response['body']}",
            f"Log       /aws/lambda/{record.function}",
            *events,
        ]
    )


def _serving(record: Deployment) -> list[str]:
    if record.qualifier is None:
        return []
    how = "restored from a snapshot" if record.snap_start else f"{record.provisioned} environments provisioned"
    return [f"Version   {record.version}, alias {record.qualifier}, {how}"]
