"""The first code of an environment: isolate, set the paths, hand over to AWS's own bootstrap."""

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402
import sys  # noqa: E402


def main() -> None:
    environ = os.environ
    runtime_dir = environ.pop("_PREHEAT_RUNTIME_DIR")
    channel_fd = int(environ.pop("_PREHEAT_CHANNEL_FD", "-1"))
    control_fd = int(environ.pop("_PREHEAT_CONTROL_FD", "-1"))
    tmp = environ.pop("_PREHEAT_TMP")
    keep = environ.pop("_PREHEAT_KEEP", "").split(os.pathsep)
    layers = [path for path in environ.pop("_PREHEAT_LAYERS", "").split(os.pathsep) if path]
    task_root = environ["LAMBDA_TASK_ROOT"]
    handler = environ["_HANDLER"]

    import preheat_isolation

    own_tmp, own_opt = preheat_isolation.isolate(tmp, [path for path in keep if path], layers[::-1])
    if own_opt:
        layers = ["/opt"]
    if not own_tmp:
        environ["TMPDIR"] = tmp
    guest_dir = sys.path[0]
    extra = environ.get("PYTHONPATH", "").split(os.pathsep)
    library = [path for path in sys.path[1:] if path not in extra]
    # AWS's order: the task root, layers, the standard library, the runtime's own packages last
    opt = [path for layer in reversed(layers) for path in _opt_python(layer)]
    sys.path[:] = [task_root, *(p for p in extra if p), *opt, "/opt/python", *library, runtime_dir]
    if layers:
        environ["PATH"] += "".join(os.pathsep + os.path.join(layer, "bin") for layer in reversed(layers))
    os.chdir(task_root)
    _interactive_builtins()
    sys.argv = ["bootstrap", handler]
    if channel_fd < 0 and control_fd < 0:
        import runpy

        runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, guest_dir)
    import preheat_client

    if control_fd >= 0:
        import preheat_snapshot
        import preheat_watch  # noqa: F401 (found now, while our directory is on the path)

        sys.path.remove(guest_dir)
        preheat_snapshot.run(handler, control_fd, int(environ["_LAMBDA_TELEMETRY_LOG_FD"]))
    else:
        sys.path.remove(guest_dir)
        preheat_client.run(handler, channel_fd, STARTED_NS, own_tmp)


def _opt_python(layer):
    """Where a layer may keep modules (developer guide, "layer paths for each runtime")."""
    python = os.path.join(layer, "python")
    version = "python%d.%d" % sys.version_info[:2]
    return [python, os.path.join(python, "lib", version, "site-packages")]


def _interactive_builtins() -> None:
    """`-S` skips site's directories, which are not AWS's; handlers may still call exit() or quit()."""
    import site

    site.setquit()


if __name__ == "__main__":
    if sys.version_info >= (3, 11):
        # Python's frames live in chunks of 16 KB; importing large packages crosses a chunk's end thousands of
        # times, and each crossing maps and unmaps memory. One large frame below all others avoids that.
        main.__code__ = main.__code__.replace(co_stacksize=70_000)
    main()
