"""`preheat profile`: where a function's init goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from preheat.profile.study import Profile


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is profiled, however it was found. `configuration` has GetFunction's members."""

    name: str
    code_dir: Path
    configuration: dict[str, Any]
    project_dir: Path | None
    endpoint_url: str | None
    region: str


@click.command(name="profile")
@click.argument("what", metavar="DIR_OR_FUNCTION")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: <data dir>/profiles/<name>]")
@click.option("--invocations", type=click.IntRange(1, 1000), default=3, show_default=True, help="Watched for use.")
@click.option("--repeat", type=click.IntRange(2, 100), default=8, show_default=True, help="Starts of each kind.")
@click.option("--event", type=click.Path(path_type=Path), help="Event as JSON. Default: sample.json as a request.")
@click.option("--runtime", default="python3.11", show_default=True, help="Of a directory.")
@click.option("--handler", default="lambda_function.lambda_handler", show_default=True, help="Of a directory.")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="Environment variable, of a directory.")
@click.option("--target", "target_name", type=click.Choice(["local", "aws"]), default="local", show_default=True)
@click.option("--endpoint-url", help="Default: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.")
@click.option("--region", help="Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, or us-east-1 locally.")
@click.option("--profile", "aws_profile", help="Profile of the AWS configuration files.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".preheat"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    what: str,
    out: Path | None,
    invocations: int,
    repeat: int,
    event: Path | None,
    data_dir: Path,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Show where init of DIR_OR_FUNCTION goes: imports, statements, memory, files; and what was imported for nothing.

    A directory is built as `preheat deploy` builds it; a function's code comes from the local cloud or AWS. Both
    run on this machine, again and again, with and without the profiler in turn. Writes profile.html, flame.png
    and profile.json.
    """
    from preheat.kernel.errors import PreheatError
    from preheat.profile import code, page, words
    from preheat.profile.study import profile

    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise PreheatError(f"{error.name} is missing: pip install 'preheat[report]'", 253) from None

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    # a name with a slash, or of a directory here, is a directory: Lambda's names have no slash
    find = _built if Path(what).is_dir() or "/" in what else _deployed
    subject = find(what, data_dir, say, **options)
    payload = code.event_of(subject.project_dir, event)
    found = profile(_program(subject, data_dir), payload, invocations=invocations, repeat=repeat, say=say)
    paths = _write(page.write, found, subject.name, out or data_dir / "profiles" / subject.name)
    if as_json:
        click.echo(json.dumps(page.as_dict(found, subject.name), ensure_ascii=False))
        return
    for line in words.account(found):
        click.echo(line)
    click.echo(f"\nProfile   {paths[1]}\nPicture   {paths[2]}")


def _write(write: Callable[..., Any], found: Profile, name: str, out: Path) -> Any:
    from preheat.kernel.errors import PreheatError

    try:
        return write(found, name, out)
    except OSError as error:
        raise PreheatError(f"{error.filename or out}: {error.strerror}") from None


def _built(what: str, data_dir: Path, say: Callable[[str], None], **options: Any) -> _Subject:
    """A directory, built and compiled."""
    from preheat.deploy import bundle
    from preheat.kernel.interpreters import interpreter
    from preheat.profile import code

    directory, runtime, handler = Path(what), options["runtime"], options["handler"]
    name = directory.resolve().name
    environment = dict(pair.partition("=")[::2] for pair in options["variables"])
    cache = data_dir / "build"
    say(f"building {directory}")
    build = bundle.build(directory, f"profile-{name}", runtime, handler, for_aws=False, cache_dir=cache, say=say)
    configuration = {
        "FunctionName": name,
        "Runtime": runtime,
        "Handler": handler,
        "Environment": {"Variables": environment},
    }
    kept = code.keep_compiled(build, cache, name, interpreter(runtime), say)
    return _Subject(name, kept, configuration, directory, options["endpoint_url"], options["region"] or "us-east-1")


def _deployed(what: str, data_dir: Path, say: Callable[[str], None], **options: Any) -> _Subject:
    """A function, by what the Lambda API says of it."""
    from preheat.deploy.deployment import find
    from preheat.deploy.target import choose, connect, profile_settings, spoken
    from preheat.kernel.interpreters import interpreter
    from preheat.profile import code

    aws_profile = options["aws_profile"]
    target = choose(
        options["target_name"],
        endpoint_url=options["endpoint_url"],
        region=options["region"],
        profile=aws_profile,
        profile_config=profile_settings(aws_profile),
    )
    with spoken(target):
        answer = connect(target).lambda_.get_function(FunctionName=what)
    configuration = dict(answer["Configuration"])
    name = str(configuration["FunctionName"])
    command = interpreter(str(configuration.get("Runtime", "")))
    code_dir = code.of_function(answer, data_dir, data_dir / "build", command, say)
    record = find(data_dir, name)
    project = Path(record.project_dir) if record else None
    return _Subject(name, code_dir, configuration, project, target.endpoint_url, target.region)


def _program(subject: _Subject, data_dir: Path) -> Any:
    """The subject as the local cloud would start it."""
    import preheat
    from preheat.execution.variables import ON_DEMAND, runtime_variables
    from preheat.kernel.function import FunctionVersion
    from preheat.kernel.interpreters import interpreter
    from preheat.profile.launch import Program
    from preheat.sandbox.runtimes import Runtimes

    configuration = subject.configuration
    runtime, handler = str(configuration["Runtime"]), str(configuration["Handler"])
    arn = f"arn:aws:lambda:{subject.region}:000000000000:function:{subject.name}"
    function = FunctionVersion(
        name=subject.name,
        version="$LATEST",
        arn=str(configuration.get("FunctionArn", arn)),
        revision_id="profile",
        runtime=runtime,
        handler=handler,
        code_dir=str(subject.code_dir),
        memory_mb=int(configuration.get("MemorySize", 512)),
        environment=configuration.get("Environment", {}).get("Variables", {}),
        region=subject.region,
        log_group=f"/aws/lambda/{subject.name}",
    )
    endpoint_url = subject.endpoint_url or "http://127.0.0.1:4566"
    return Program(
        interpreter=interpreter(runtime),
        guest_dir=Path(preheat.__file__).parent / "guest",
        runtime_dir=Runtimes(data_dir / "runtimes").directory(runtime),
        code_dir=subject.code_dir,
        handler=handler,
        variables=runtime_variables(function, "profile", endpoint_url, ON_DEMAND),
        arn=function.arn,
    )
