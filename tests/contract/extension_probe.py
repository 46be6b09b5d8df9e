"""An external extension for tests: a script of the standard library that says what it hears on its output.

Its behaviour is in the function's environment variable PROBE, JSON: {"events", "telemetry", "work_s", "crash":
"start" | "init" | "invoke", "error": "init" | "exit", "linger_s"}.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = r"""#!%(python)s
import http.client, http.server, json, os, socketserver, sys, threading, time

HOST, NAME = os.environ["AWS_LAMBDA_RUNTIME_API"], os.path.basename(sys.argv[0])
WISH = json.loads(os.environ.get("PROBE", "{}"))

def say(**facts):
    os.write(1, (json.dumps({"probe": NAME, **facts}) + "\n").encode())

def ask(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(HOST)
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, dict(answer.getheaders()), json.loads(content) if content else None

def listen(identity):
    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
                if event["type"] != "extension" or not repeated:  # what we say of it is an event again
                    say(heard=event)
                    repeated.extend([event] * (event["type"] == "extension"))
                if event["type"] == "platform.runtimeDone":
                    done.set()
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    class Server(socketserver.ThreadingTCPServer):  # HTTPServer looks its own name up, which can take seconds
        daemon_threads = True

    server = Server(("sandbox.localdomain", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wish = {"schemaVersion": "2022-12-13", "types": WISH["telemetry"], "buffering": {"timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%%d/x" %% server.server_address[1]}}
    say(subscribed=ask("PUT", "/2022-07-01/telemetry", wish, identity)[::2])

done, repeated = threading.Event(), []
if WISH.get("crash") == "start":
    sys.exit(7)
wish = {"events": WISH.get("events", ["INVOKE", "SHUTDOWN"])}
status, headers, facts = ask("POST", "/2020-01-01/extension/register", wish,
                             {"Lambda-Extension-Name": NAME, "Lambda-Extension-Accept-Feature": "accountId"})
identity = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
withheld = ("AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "_HANDLER", "LAMBDA_TASK_ROOT")
say(registered=[status, facts], variables=[name for name in withheld if name in os.environ],
    model=os.environ.get("MODEL"), opt=os.path.exists("/opt/extensions"), task=os.listdir("/var/task"))
if WISH.get("telemetry"):
    listen(identity)
if WISH.get("crash") == "init":
    os.kill(os.getpid(), 9)
if WISH.get("error"):
    path = "/2020-01-01/extension/%%s/error" %% WISH["error"]
    ask("POST", path, {}, {**identity, "Lambda-Extension-Function-Error-Type": "Probe.Unhappy"})
    time.sleep(60)
while True:
    _, _, event = ask("GET", "/2020-01-01/extension/event/next", None, identity)
    say(event=event)
    if event["eventType"] == "SHUTDOWN":
        time.sleep(WISH.get("linger_s", 0))
        say(bye=True)
        sys.exit(0)
    if WISH.get("crash") == "invoke":
        sys.exit(0)
    if WISH.get("telemetry") and "platform" in WISH["telemetry"]:
        done.wait(10)
        done.clear()
    time.sleep(WISH.get("work_s", 0))
"""


def write_layer(layer: Path, *names: str, text: str = "", mode: int = 0o755) -> str:
    """A layer with the probe under each name; returns its path, as FunctionVersion.layer_dirs has it."""
    (layer / "extensions").mkdir(parents=True)
    for name in names:
        path = layer / "extensions" / name
        path.write_text(text or SOURCE % {"python": sys.executable})
        path.chmod(mode)
    return str(layer)
