"""`preheat up`, `down`, `status`, `env`, `doctor`: what they print, and their exit codes."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from e2e_cloud import BIN, Cloud, ask, clean_environment, eventually, preheat, remains, zipped


def test_up_detached_status_env_down(tmp_path: Path) -> None:
    data = tmp_path / "data"
    where = ("--data-dir", str(data))
    up = preheat("up", "--detach", "--port", "0", *where)
    try:
        assert up.returncode == 0, up.stderr
        url = up.stdout.split()[3]
        assert up.stdout.startswith(f"preheat is up: {url} (pid ")
        health = ask(f"{url}/_preheat/health").json()
        assert (health["status"], f"(pid {health['pid']})" in up.stdout) == ("ok", True)

        again = preheat("up", "--detach", "--port", "0", *where)
        assert (again.returncode, again.stderr) == (255, f"preheat: already up: {url} (pid {health['pid']})\n")
        foreground = preheat("up", "--port", "0", *where)
        sentence = f"preheat: another preheat is up for {data} (stop it with: preheat down)\n"
        assert (foreground.returncode, foreground.stdout, foreground.stderr) == (255, "", sentence)

        status = preheat("status", *where)
        assert (status.returncode, url in status.stdout) == (0, True)
        assert json.loads(preheat("status", "--json", *where).stdout)["up"] is True
        exports = preheat("env", *where).stdout
        shell = f'eval {shlex.quote(exports)}; "{BIN}/aws" sts get-caller-identity --query Account --output text'
        account = subprocess.run(shell, shell=True, env=clean_environment(), capture_output=True, text=True, check=True)
        assert account.stdout == "000000000000\n"
    finally:
        down = preheat("down", *where)
    assert (down.returncode, down.stdout) == (0, "preheat is down\n")
    assert remains(data) == []
    assert preheat("status", *where).returncode == 255
    nothing = preheat("down", *where)
    assert (nothing.returncode, nothing.stderr) == (
        255,
        f"preheat: nothing is up for {data} (start it with: preheat up)\n",
    )


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for detach in ([], ["--detach"]):
            up = preheat("up", "--port", str(port), "--data-dir", str(tmp_path / "data"), *detach)
            assert (up.returncode, up.stdout) == (255, "")
            assert up.stderr.startswith(f"preheat: cannot listen on 127.0.0.1:{port}: ")
            assert up.stderr.endswith("(choose another --port)\n")
            assert up.stderr.count("\n") == 1
    assert remains(tmp_path / "data") == []


def test_ctrl_c_ends_up_at_once(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "data").start()
    assert cloud.end(signal.SIGINT) == 0
    assert remains(cloud.data_dir) == []
    assert not (cloud.data_dir / "server.json").exists()


def test_settings_files_reach_the_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "preheat.toml").write_text('region = "eu-west-1"\naccount_id = "123456789012"\nmax_inits = 3\n')
    cloud = Cloud(data).start()
    try:
        assert cloud.aws("sts", "get-caller-identity")["Account"] == "123456789012"
        assert ask(f"{cloud.url}/_preheat/health").json()["max_inits"] == 3
        arn = cloud.client("lambda").create_function(
            FunctionName="here",
            Runtime="python3.11",
            Role="arn:aws:iam::123456789012:role/LabRole",
            Handler="a.b",
            Code={"ZipFile": zipped("")},
        )["FunctionArn"]
        assert arn == "arn:aws:lambda:eu-west-1:123456789012:function:here"
    finally:
        cloud.end()
    (data / "preheat.toml").write_text("port = 1\nwarp = 9\n")
    wrong = preheat("up", cwd=data)
    assert (wrong.returncode, wrong.stderr.startswith("preheat: preheat.toml: unknown setting 'warp'")) == (253, True)


@pytest.mark.parametrize("transport", ["socket", "http"])
def test_both_transports_serve(tmp_path: Path, transport: str) -> None:
    cloud = Cloud(tmp_path / "data", "--transport", transport).start()
    try:
        cloud.create_function("light")
        client = cloud.client("lambda")
        answers = [json.loads(client.invoke(FunctionName="light", Payload=b"{}")["Payload"].read()) for _ in range(2)]
        assert [json.loads(answer["body"])["count"] for answer in answers] == [1, 2]
        assert [record["cold"] for record in cloud.records("invocation")] == [True, False]
    finally:
        cloud.end()
    assert remains(cloud.data_dir) == []


def test_idle_environments_go_after_their_keep_alive(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / "data", "--keep-alive-s", "0.3").start()
    try:
        cloud.create_function("light")
        cloud.client("lambda").invoke(FunctionName="light", Payload=b"{}")
        (stopped,) = eventually(lambda: cloud.records("environment_stopped"))
        assert (stopped["reason"], stopped["served"]) == ("expired", 1)
    finally:
        cloud.end()


def test_doctor_tells_what_this_machine_can_do() -> None:
    done = preheat("doctor", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    found = {finding["what"]: finding for finding in report["findings"]}
    assert report["schema"] == 1
    assert found["runtime python3.11"]["ok"] is True
    expected = {"machine", "sandbox process", "own /tmp", "own /var/task", "memory limit"}
    assert {*expected, "preheat load", "preheat report"} <= set(found)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 252, "No such command 'nonsense'"),
        (["up", "--nonsense"], 252, "No such option '--nonsense'"),
        (["up", "--port", "x"], 252, "'x' is not a valid integer"),
        (["deploy"], 252, "Missing argument 'DIRECTORY'"),
        (["report", "/nowhere"], 252, "not a run's folder"),
    ],
)
def test_mistakes_are_told_on_standard_error(arguments: list[str], code: int, words: str) -> None:
    done = preheat(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
