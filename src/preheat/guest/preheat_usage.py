"""Which import statement brings which modules in, and which modules are used: by the handler module's own
statements while it initialises (a model's loader, say), and by the first invocations.

What counts as used: a function of the module was entered, a name was read from the module object, one of its
C functions was called from Python; and, so as to err on the side of "used", the classes of whose instances a
method was entered (with their bases), and every class or function that an entered function names. What
cannot be seen: constants copied by `from module import NAME`, and what C code does by itself.

Like preheat_profile it imports only what is built in, until init is over.
"""

import _frozen_importlib as _bootstrap
import _thread
import builtins
import sys
import time

from preheat_profile import hidden

_FUNCTIONS = ("function", "builtin_function_or_method", "cython_function_or_method", "fused_cython_function")
_Module = type(sys)


class Usage:
    """`recorder` (preheat_profile.Recorder) knows what is being executed at any moment."""

    def __init__(self, recorder):
        self._recorder = recorder
        self._edges = {}
        self._touched = set()
        self._at_init = Uses()
        self._at_work = Uses()
        self._modules = {}
        self._began_ns = 0
        self.invocations_ms = 0.0

    # init: who imports whom

    def watch_imports(self):
        """Hooks in; returns what undoes them, (owner, name, original) each."""
        statement, function = builtins.__import__, _bootstrap._gcd_import

        def __import__(name, globals=None, locals=None, fromlist=(), level=0):
            module = statement(name, globals, locals, fromlist, level)
            self._note(name, globals, fromlist, level)
            return module

        def _gcd_import(name, package=None, level=0):
            if not level:
                self.imported(name)
            return function(name, package, level)

        hidden(__import__)
        hidden(_gcd_import)
        builtins.__import__, _bootstrap._gcd_import = __import__, _gcd_import
        sys.setprofile(self._event_at_init)
        return [(builtins, "__import__", statement), (_bootstrap, "_gcd_import", function)]

    def _event_at_init(self, frame, event, arg):
        """What a statement of the handler's module does itself, not what it imports."""
        recorder = self._recorder
        if recorder.stack[-1] >= 0 and recorder.nodes[recorder.stack[-1]][0] == 1:
            self._at_init.event(frame, event, arg)

    def imported(self, name):
        """The import system was asked for a module: by a statement, by importlib.import_module, by C code."""
        source = self._source()
        if not source[0].startswith(name + "."):  # a package is imported before what is in it
            self._edge(source, name)

    def _note(self, name, namespace, fromlist, level):
        if level:
            try:
                name = _bootstrap._resolve_name(name, _bootstrap._calc___package__(namespace), level)
            except (ImportError, KeyError, TypeError, ValueError):
                return
        source = self._source()
        self._edge(source, name)
        for item in fromlist or ():
            if isinstance(item, str) and name + "." + item in sys.modules:
                self._edge(source, name + "." + item)

    def _edge(self, source, name):
        targets = self._edges.setdefault(source, {})
        while name:
            targets[name] = None
            name = name.rpartition(".")[0]

    def _source(self):
        """(module, line) of the statement being executed; ("", 0) while no module is."""
        recorder = self._recorder
        if recorder.stack[-1] < 0 or _thread.get_ident() != recorder.thread:
            return "", 0
        _, name, line = recorder.nodes[recorder.stack[-1]][:3]
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == name:
                return name, frame.f_lineno
            frame = frame.f_back
        return name, line

    # the first invocations: what is used

    def watch_use(self):
        sys.setprofile(None)
        self._modules = {name: _origin(module) for name, module in list(sys.modules.items())}
        touched = self._touched
        read = _Module.__getattribute__

        class Watched(_Module):
            def __getattribute__(self, name):
                if not name.startswith("__"):  # those the import system reads
                    touched.add(id(self))
                return read(self, name)

        threading = sys.modules.get("threading")
        if threading is not None:
            threading.setprofile(self._at_work.event)
        for name, module in list(sys.modules.items()):
            # a module of a class of its own cannot be changed; and everything uses builtins and sys
            if type(module) is _Module and name not in ("builtins", "sys", "__main__"):
                module.__class__ = Watched
        self._began_ns = time.monotonic_ns()
        sys.setprofile(self._at_work.event)

    def stop(self):
        sys.setprofile(None)
        self.invocations_ms = (time.monotonic_ns() - self._began_ns) / 1e6
        self._at_work.used.update(name for name, module in list(sys.modules.items()) if id(module) in self._touched)

    def result(self):
        return {
            "edges": [[module, line, list(targets)] for (module, line), targets in self._edges.items()],
            "used_at_init": sorted(self._at_init.used.intersection(self._modules)),
            "used": sorted(self._at_work.used.intersection(self._modules)),
            "modules": self._modules,
            "invocations_ms": self.invocations_ms,
        }


class Uses:
    """Names of modules, gathered from a profiler's events."""

    def __init__(self):
        self.used = set()
        self._seen = set()

    def event(self, frame, event, arg):
        if event == "call":
            if frame.f_code not in self._seen:
                self._seen.add(frame.f_code)
                self._entered(frame)
        elif event == "c_call":
            owner = getattr(arg, "__module__", None)
            if isinstance(owner, str):
                self.used.add(owner)
            else:
                self.used.add(type(getattr(arg, "__self__", None)).__module__)

    def _entered(self, frame):
        code, namespace = frame.f_code, frame.f_globals
        self._use(namespace.get("__name__"))
        for name in code.co_names:
            value = namespace.get(name)
            kind = type(value)
            if value is None or kind is _Module:
                continue
            if issubclass(kind, type):
                self._class(value)
            elif kind.__name__ in _FUNCTIONS:
                self._use(value.__module__)
            else:
                self._use(kind.__module__)
        if code.co_argcount:
            self._class(type(frame.f_locals.get(code.co_varnames[0])))

    def _class(self, kind):
        for base in type.__getattribute__(kind, "__mro__"):
            self._use(base.__dict__.get("__module__"))

    def _use(self, name):
        if isinstance(name, str):
            self.used.add(name)


def _origin(module):
    """The file a module came from, None for what has none."""
    try:
        origin = module.__spec__.origin
    except Exception:  # anything may stand in sys.modules
        return None
    return origin if isinstance(origin, str) else None
