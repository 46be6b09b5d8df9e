"""The first code of an environment: isolate, set the paths, hand over to AWS's own bootstrap."""

import time

STARTED_NS = time.monotonic_ns()

import os  # noqa: E402
import sys  # noqa: E402


def main() -> None:
    environ = os.environ
    channel_fd = int(environ.pop("_PREHEAT_CHANNEL_FD", "-1"))
    control_fd = int(environ.pop("_PREHEAT_CONTROL_FD", "-1"))
    tmp = environ.pop("_PREHEAT_TMP")
    keep = environ.pop("_PREHEAT_KEEP", "").split(os.pathsep)
    layers = [path for path in environ.pop("_PREHEAT_LAYERS", "").split(os.pathsep) if path]
    custom = environ.pop("_PREHEAT_CUSTOM", "")
    handler = environ["_HANDLER"]

    wrapped = environ.pop("_PREHEAT_WRAPPED", "")
    own_tmp = wrapped == "own /tmp"
    if not wrapped:  # else this is the second pass, behind a wrapper script
        own_tmp, layers = _isolated(tmp, keep, layers, custom, control_fd >= 0)
        if "AWS_LAMBDA_EXEC_WRAPPER" in environ and not custom:
            import preheat_wrapper

            preheat_wrapper.wrap(channel_fd, control_fd, tmp, own_tmp, layers)
    task_root, runtime_dir = environ["LAMBDA_TASK_ROOT"], environ["LAMBDA_RUNTIME_DIR"]
    guest_dir = sys.path[0]
    extra = environ.get("PYTHONPATH", "").split(os.pathsep)
    library = [path for path in sys.path[1:] if path not in extra]
    # AWS's order: the task root, layers, the standard library, the runtime's own packages last
    opt = [path for layer in reversed(layers) for path in _opt_python(layer)]
    sys.path[:] = [task_root, *(p for p in extra if p), *opt, "/opt/python", *library, runtime_dir]
    if layers != ["/opt"]:  # whose bin is on PATH as it is
        environ["PATH"] += "".join(os.pathsep + os.path.join(layer, "bin") for layer in reversed(layers))
    os.chdir(task_root)
    if custom:
        sys.path.insert(0, guest_dir)
        import preheat_custom

        preheat_custom.run(task_root, layers[::-1], {"_PREHEAT_TMP": tmp})
    _directory_variables(task_root, runtime_dir)
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
        preheat_snapshot.run(handler, control_fd, int(environ["_LAMBDA_TELEMETRY_LOG_FD"]), own_tmp)
    else:
        sys.path.remove(guest_dir)
        preheat_client.run(handler, channel_fd, STARTED_NS, own_tmp)


def _isolated(tmp, keep, layers, custom, template):
    """The environment's own places, and its external extensions, which start before the runtime. Returns whether /tmp
    is our own, and where layers are; the variables say where the code and the runtime are."""
    environ = os.environ
    task, runtime_dir = environ.pop("_PREHEAT_TASK"), environ["LAMBDA_RUNTIME_DIR"]
    supervisor_fd = int(environ.pop("_PREHEAT_SUPERVISOR_FD", "-1"))
    extensions_fd = int(environ.pop("_PREHEAT_EXTENSIONS_FD", "-1"))
    extensions = environ.pop("_PREHEAT_EXTENSIONS", "").split(os.pathsep)

    import preheat_isolation

    own_tmp, own_opt, own_task = preheat_isolation.isolate(
        tmp, [path for path in keep if path], layers[::-1], task, "" if custom else runtime_dir, template
    )
    if own_task:
        environ["LAMBDA_TASK_ROOT"] = preheat_isolation.shown(environ["LAMBDA_TASK_ROOT"], task)
        environ["LAMBDA_RUNTIME_DIR"] = preheat_isolation.RUNTIME_DIR
    if not own_tmp:
        environ["TMPDIR"] = tmp
    if supervisor_fd >= 0:
        import preheat_supervisor

        if own_tmp:
            preheat_isolation.name_sandbox()
        if own_opt:
            extensions = [os.path.join("/opt/extensions", os.path.basename(path)) for path in extensions]
        preheat_supervisor.run(supervisor_fd, extensions_fd, extensions, {"_PREHEAT_TMP": tmp})
    return own_tmp, ["/opt"] if own_opt else layers


def _opt_python(layer):
    """Where a layer may keep modules (developer guide, "layer paths for each runtime")."""
    python = os.path.join(layer, "python")
    version = "python%d.%d" % sys.version_info[:2]
    return [python, os.path.join(python, "lib", version, "site-packages")]


def _directory_variables(task_root, runtime_dir):
    """What AWS's start script sets, as handlers on AWS see it (python3.8 to 3.14); only programs that a handler starts
    follow it. Not in our own variables from the beginning: it would change what we import, and where libraries are
    looked for before they are there."""
    environ = os.environ
    environ["PWD"] = task_root
    environ.setdefault("PYTHONPATH", runtime_dir)
    if task_root.startswith("/var/task"):
        environ.setdefault(
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        )


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
