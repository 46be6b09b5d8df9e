"""Watches an environment initialise: when every import and every top-level statement of the handler's module ran.

`profile.launch` puts a call of `install` before the first line of this directory's `__main__.py`; everything
after it is as always. Until init is over nothing is imported that is not built in: whatever this loaded, the
function would no longer pay for. Two ways of watching, because looking closely takes time: "timed" takes two
clock readings an import; "detailed" adds memory, files opened, the graph of imports (preheat_usage) and what
the first invocations use.

"Timed" leaves no frame of its own on the stack while anything runs. From Python 3.11 on, frames live in 16 KB
chunks, and a call across a chunk's end maps one and unmaps it again each time (CPython's pystate.c, push_chunk),
so that one frame more or less anywhere below moves a function's init by some percent.
"""

import _ast
import _frozen_importlib as _bootstrap
import _frozen_importlib_external as _external
import _thread
import builtins
import gc
import posix
import sys
import time

IMPORT, STATEMENT, PROFILER, COLLECTOR = 0, 1, 2, 3
MARK = "__preheat_statement__"
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST
_NO_FILE_READ = posix.O_WRONLY | posix.O_RDWR
_ROOM = 1 << 15  # nodes: a list that grows during init would change how often the C library trims its heap

clock = time.monotonic_ns


def install(started_ns):
    """Begin. `_PREHEAT_PROFILE` says where to write (descriptor) and how many invocations to watch (-1: times only)."""
    environ = sys.modules["os"].environ  # there since the interpreter ran a directory (runpy)
    fd, invocations = map(int, environ.pop("_PREHEAT_PROFILE").split(":"))
    handler_module = environ["_HANDLER"].rpartition(".")[0].replace("/", ".")
    recorder = Recorder(detailed=invocations >= 0)
    usage = None
    if recorder.detailed:
        import preheat_usage

        usage = preheat_usage.Usage(recorder)
        sys.addaudithook(recorder.opened)
    session = Session(recorder, usage, fd, max(invocations, 0))
    session.watch_imports(handler_module)
    session.marks["started_ns"] = started_ns
    session.marks["installed_ns"] = clock()


class Recorder:
    """Intervals that nest, on the main thread: what threads import at the same time is not in them.

    A node is [kind, name, line, parent, began ns, ended ns, began resident, ended resident (bytes),
    files opened, their bytes, 1 if the import succeeded].
    """

    def __init__(self, detailed):
        self.nodes = [None] * _ROOM
        self.count = 0
        self.stack = [-1]
        self.thread = _thread.get_ident()
        self.detailed = detailed
        self.files = {}
        self._statm = posix.open("/proc/self/statm", posix.O_RDONLY) if detailed and _is_linux() else -1
        self._page = _page_bytes() if self._statm >= 0 else 0

    def begin(self, kind, name, line):
        index = self.count
        self.count = index + 1
        if index == len(self.nodes):
            self.nodes.extend([None] * _ROOM)
        resident = self.resident() if self.detailed else 0
        self.nodes[index] = node = [kind, name, line, self.stack[-1], clock(), 0, resident, 0, 0, 0, 0]
        self.stack.append(index)
        return node

    def end(self, node, succeeded):
        node[5] = clock()
        node[7] = self.resident() if self.detailed else 0
        node[10] = 1 if succeeded else 0
        self.stack.pop()

    def resident(self):
        return int(posix.pread(self._statm, 128, 0).split()[1]) * self._page if self._statm >= 0 else 0

    def opened(self, event, args):
        """Audit hook: files opened for reading and shared libraries loaded as modules, by who was running."""
        if event == "open":
            path, _, flags = args
            if not isinstance(path, (str, bytes)) or (isinstance(flags, int) and flags & _NO_FILE_READ):
                return
        elif event == "import" and args[1] is not None:
            path = args[1]
        else:
            return
        if self.stack[-1] < 0 or _thread.get_ident() != self.thread:
            return
        try:
            size = posix.stat(path).st_size
        except (OSError, ValueError):
            return
        node = self.nodes[self.stack[-1]]
        node[8] += 1
        node[9] += size
        name = path if isinstance(path, str) else path.decode("utf-8", "replace")
        count, _ = self.files.get(name, (0, 0))
        self.files[name] = (count + 1, size)


class Session:
    """One watched process: hooks in, init, hooks out, the first invocations, the result out."""

    def __init__(self, recorder, usage, fd, invocations):
        self.recorder = recorder
        self.usage = usage
        self.fd = fd
        self.invocations = invocations
        self.waits = 0
        self.marks = {}
        self._undo = []
        self._collection = None

    def watch_imports(self, handler_module):
        """Every module is loaded under its lock: taking and giving it back are the ends of an import."""
        manager = _bootstrap._ModuleLockManager
        enter, leave = manager.__enter__, manager.__exit__
        recorder, usage = self.recorder, self.usage
        finder = HandlerFinder(handler_module, recorder)

        def __enter__(lock):
            name = lock._name
            lock.node = None
            if _thread.get_ident() == recorder.thread and name not in sys.modules:
                if usage is not None:
                    usage.imported(name)
                if name == handler_module:
                    sys.meta_path.insert(0, finder)
                lock.node = recorder.begin(IMPORT, name, 0)
            enter(lock)

        def __exit__(lock, *error):
            leave(lock, *error)
            if lock.node is not None:
                recorder.end(lock.node, not error[0])
                if lock._name == "preheat_client":
                    self._watch(sys.modules["preheat_client"].SocketClient)
                elif lock._name == handler_module:
                    sys.meta_path.remove(finder)

        manager.__enter__, manager.__exit__ = __enter__, __exit__
        self._undo.append((manager, "__enter__", enter))
        self._undo.append((manager, "__exit__", leave))
        if usage is not None:
            self._undo += usage.watch_imports()
        gc.callbacks.append(self._collects)

    def _collects(self, phase, info):
        recorder = self.recorder
        if _thread.get_ident() != recorder.thread:
            return
        if phase == "start":
            self._collection = recorder.begin(COLLECTOR, "", 0)
        elif self._collection is not None:
            recorder.end(self._collection, True)

    def _watch(self, client):
        original = client.wait_next_invocation

        def wait_next_invocation(this):
            self.waiting()
            return original(this)

        client.wait_next_invocation = wait_next_invocation

    def waiting(self):
        """The runtime asks for work: first when init is over, then after every invocation."""
        if self.waits == 0:
            self.marks["initialised_ns"] = clock()
            self.marks["resident"] = self.recorder.resident()
            for owner, name, original in self._undo:
                setattr(owner, name, original)
            gc.callbacks.remove(self._collects)
            if self.usage is not None:
                self.usage.watch_use()
        if self.waits == self.invocations:
            if self.usage is not None:
                self.usage.stop()
            self._write()
        self.waits += 1

    def _write(self):
        import json

        recorder, environ = self.recorder, sys.modules["os"].environ
        result = {"marks": self.marks, "nodes": recorder.nodes[: recorder.count], "files": recorder.files}
        result["roots"] = [environ["LAMBDA_TASK_ROOT"], environ["LAMBDA_RUNTIME_DIR"]]
        if self.usage is not None:
            result.update(self.usage.result())
        data = json.dumps(result).encode("utf-8", "surrogateescape")
        while data:
            data = data[posix.write(self.fd, data) :]
        posix.close(self.fd)


class HandlerFinder:
    """Finds one module as the import system would, and has its statements marked."""

    def __init__(self, name, recorder):
        self.name = name
        self.recorder = recorder

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        spec = _external.PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is _external.SourceFileLoader:
            spec.loader = StatementLoader(spec.loader.name, spec.loader.path)
            spec.loader.recorder = self.recorder
        return spec


class StatementLoader(_external.SourceFileLoader):
    """Gives a module's code with a call before each top-level statement that says it begins."""

    def get_code(self, fullname):
        code = super().get_code(fullname)  # reading the .pyc file belongs to init; marking does not
        recorder = self.recorder
        node = recorder.begin(PROFILER, "", 0)
        current = []

        def mark(line):
            if current:
                recorder.end(current.pop(), True)
            if line:
                current.append(recorder.begin(STATEMENT, fullname, line))

        setattr(builtins, MARK, mark)
        try:
            return marked(self.get_data(self.path), self.path, code)
        finally:
            recorder.end(node, True)


def marked(source, path, code):
    """`code`, compiled again from its source with MARK(line) before each top-level statement and MARK(0) at the end.

    The docstring and `from __future__` must come first and stay so. The frame is as large as `code`'s.
    """
    tree = compile(source, path, "exec", _ONLY_AST, dont_inherit=True)
    body = []
    for number, statement in enumerate(tree.body):
        if not (number == 0 and _is_docstring(statement)) and getattr(statement, "module", "") != "__future__":
            line = min([statement.lineno, *(item.lineno for item in getattr(statement, "decorator_list", ()))])
            body.append(_call(line, statement))
        body.append(statement)
    if body:
        body.append(_call(0, body[-1]))
    tree.body = body
    new = compile(tree, path, "exec", dont_inherit=True)
    return new.replace(co_stacksize=max(new.co_stacksize, code.co_stacksize))


def _is_docstring(statement):
    return isinstance(statement, _ast.Expr) and isinstance(statement.value, _ast.Constant)


def _call(line, at):
    place = {name: getattr(at, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    name = _ast.Name(MARK, _ast.Load(), **place)
    return _ast.Expr(_ast.Call(name, [_ast.Constant(line, None, **place)], [], **place), **place)


def hidden(function):
    """Make a function's frames look like the import system's own: tracebacks and warnings then leave them out."""
    function.__code__ = function.__code__.replace(co_filename="<frozen importlib._bootstrap>")


def _is_linux():
    return sys.platform.startswith("linux")


def _page_bytes():
    return posix.sysconf("SC_PAGE_SIZE")
