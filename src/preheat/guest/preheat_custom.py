"""Starting a custom runtime (provided.al2023): the package's or a layer's `bootstrap`, any executable."""

import json
import os
import sys


def run(task_root, layers, mark):
    """Become the bootstrap; never returns. `layers` are directories in the order in which they are searched,
    `mark` is the variable by which a later server finds what this one may leave."""
    places = [os.path.join(place, "bootstrap") for place in (task_root, *layers)]
    found = next((path for path in places if os.path.isfile(path)), None)
    if found is None:
        _refuse("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]")
    own = [task_root, os.path.join(task_root, "lib"), *(os.path.join(layer, "lib") for layer in layers)]
    os.environ.setdefault("LD_LIBRARY_PATH", os.pathsep.join(own))
    try:
        os.execve(found, [found], {**os.environ, **mark})
    except OSError as error:
        _refuse("fork/exec /var/task/bootstrap: %s" % (error.strerror or error).lower())


def _refuse(why):
    """Tell it as AWS words it: Go's fork/exec."""
    import http.client

    sys.stderr.write(why + "\n")
    sys.stderr.flush()
    client = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    body = json.dumps({"errorType": "Runtime.InvalidEntrypoint", "errorMessage": why})
    client.request("POST", "/2018-06-01/runtime/init/error", body, {"Content-Type": "application/json"})
    client.getresponse().read()
    os._exit(1)
