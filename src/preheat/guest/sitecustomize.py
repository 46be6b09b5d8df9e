"""Inside an image whose function has SnapStart: hands our client to the image's own AWS bootstrap.

The image's entry point runs as it is. Python imports this file at its start because PYTHONPATH names its directory
(docs.python.org/3/library/site.html, "sitecustomize"); nothing happens in a process that does not load awslambdaric.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_BOOTSTRAP = "awslambdaric.bootstrap"


class _Finder:
    """Finds AWS's bootstrap as it would be found without us, and takes its `run` over once it is loaded."""

    def __init__(self, control_fd):
        self._control_fd = control_fd

    def find_spec(self, name, path=None, target=None):
        if name != _BOOTSTRAP:
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            self._take_over(module)

        spec.loader.exec_module = exec_module
        return spec

    def _take_over(self, bootstrap):
        plain = bootstrap.run

        def run(*arguments):
            """awslambdaric 3: (handler, client); the older ones: (root, handler, address)."""
            bootstrap.run = plain
            handler = arguments[-2]
            sys.path.insert(0, _HERE)
            import preheat_isolation  # noqa: F401 (both are found now, while our directory is on the path)
            import preheat_snapshot
            import preheat_watch  # noqa: F401

            sys.path.remove(_HERE)
            preheat_snapshot.run_hosted(handler, self._control_fd)

        bootstrap.run = run


def _start():
    control = os.environ.pop("_PREHEAT_CONTROL_FD", None)
    # the function's own, or what the image's start script has made of it
    others = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path != _HERE]
    if others:
        os.environ["PYTHONPATH"] = os.pathsep.join(others)
    else:
        del os.environ["PYTHONPATH"]
    sys.path.remove(_HERE)
    if control is not None:
        sys.meta_path.insert(0, _Finder(int(control)))


def _image_s_own():
    """Ours has hidden it."""
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError:
        sys.modules["sitecustomize"] = ours


_start()
_image_s_own()
