"""A layer's wrapper script (AWS_LAMBDA_EXEC_WRAPPER) between us and the runtime.

Source: Lambda developer guide, "Modifying the runtime environment", wrapper scripts: it gets the runtime's command line
as its arguments and ends by executing it, or something else. Here that command is this directory once more.
"""

import os
import sys


def wrap(channel_fd, control_fd, tmp, own_tmp, layers):
    """Become the wrapper; never returns. Without an /opt of our own the script is looked for in the layers."""
    wrapper = os.environ["AWS_LAMBDA_EXEC_WRAPPER"]
    again = {
        "_PREHEAT_CHANNEL_FD": str(channel_fd),
        "_PREHEAT_CONTROL_FD": str(control_fd),
        "_PREHEAT_TMP": tmp,
        "_PREHEAT_LAYERS": os.pathsep.join(layers),
        "_PREHEAT_WRAPPED": "own /tmp" if own_tmp else "shared /tmp",
    }
    if not os.path.exists(wrapper) and wrapper.startswith("/opt/"):
        places = [os.path.join(layer, wrapper[len("/opt/") :]) for layer in reversed(layers)]
        wrapper = next((path for path in places if os.path.exists(path)), wrapper)
    command = [wrapper, sys.executable, "-S", os.path.dirname(os.path.abspath(__file__))]
    try:
        os.execve(wrapper, command, {**os.environ, **again})
    except OSError as error:
        sys.stderr.write("%s: %s\n" % (wrapper, error.strerror))
        sys.stderr.flush()
        os._exit(127)  # a shell's status for what it cannot execute
