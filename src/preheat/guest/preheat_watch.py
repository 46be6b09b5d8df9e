"""What init does that a snapshot cannot carry over: connections, threads, event loops, cached credentials.

Watched during the template's init only; each finding names the line of the function's code that led to it.
"""

import contextlib
import os
import socket
import sys
import threading
import weakref

import preheat_threads

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_CONNECTS = ("socket.connect", "socket.sendto")
_OUTSIDE = "code outside the function"
_ADVICE = {
    "connection": "opens a network connection during init; it is dead or shared in every restored environment: "
    "connect in an after-restore hook (snapshot_restore_py.register_after_restore) or in the handler",
    "address": "binds a socket to an address during init; every restored environment has the same socket: "
    "bind one in an after-restore hook or in the handler",
    "thread": "starts a thread during init; threads do not survive the snapshot: "
    "start it in an after-restore hook or in the handler",
    "native thread": "starts threads of a native library during init; they do not survive the snapshot, and what waits "
    "for one hangs: make the object that has them in an after-restore hook or in the handler, or let it use one thread",
    "loop": "makes an event loop during init (asyncio); what it polls and is woken by would be the same in every "
    "restored environment: make it in an after-restore hook or in the handler",
    "credential": "reads credentials during init; they are old when an environment is restored: "
    "create the client in the handler or refresh it in an after-restore hook",
}


def start(task_root):
    return Watch(os.path.realpath(task_root))


class Watch:
    def __init__(self, task_root):
        self._task_root = task_root + os.sep
        self._active = True
        self._found = {}
        self._seen = preheat_threads.alive()
        self._before = _OUTSIDE
        self._born = {}
        self._paired = None
        self._bound = []
        self._lines = _Lines(self._look)
        watch = self

        class WatchedEnviron(type(os.environ)):
            def __getitem__(self, key):
                if key in _SECRETS and watch._active:
                    watch._note("credential")
                return super().__getitem__(key)

        def watched_start(thread):
            watch._note("thread")
            watch._look()
            self._thread_start(thread)
            watch._seen |= preheat_threads.alive()  # it is no native one, not even while it ends

        os.environ.__class__ = WatchedEnviron
        self._thread_start = threading.Thread.start
        threading.Thread.start = watched_start  # the audit event for it came with Python 3.12
        sys.addaudithook(self._audit)

    def findings(self):
        """End watching. A list of {"kind", "where", "text"}, threads still alive named; after `settle`."""
        self._look()
        self._active = False
        self._lines.end()
        os.environ.__class__ = type(os.environ).__mro__[1]
        threading.Thread.start = self._thread_start
        threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        native = preheat_threads.alive() & set(self._born)
        for thread in native:
            key = ("native thread", self._born[thread])
            self._found[key] = self._found.get(key, 0) + 1
        for bound, where in self._bound:
            if bound() is not None and bound().fileno() >= 0:  # else it was to see whether this machine can (urllib3)
                self._found["address", where] = 1
        if _polls():
            self._found["loop", self._paired or _OUTSIDE] = 1
        alive = {"thread": ", ".join(thread.name for thread in threads), "native thread": str(len(native))}
        found = []
        for (kind, where), count in sorted(self._found.items()):
            if kind == "thread" and not threads:
                continue  # it has ended by itself
            text = _ADVICE[kind] + (" (alive: %s)" % alive[kind] if kind in alive else "")
            found.append({"kind": kind, "where": where, "text": text, "count": count})
        return found

    def _audit(self, event, arguments):
        if not self._active:
            return
        if event in ("import", "exec"):
            self._look()
            path = getattr(arguments[0], "co_filename", "")
            if path.startswith(self._task_root):  # a module of the function's own begins
                if self._before == _OUTSIDE:
                    self._before = "%s:1" % path[len(self._task_root) :]
                self._lines.follow(arguments[0])
        elif event in _CONNECTS and isinstance(arguments[1], tuple):
            self._note("connection")
        elif event == "socket.bind" and isinstance(arguments[1], tuple):
            self._bound.append((weakref.ref(arguments[0]), self._user_line()))
        elif event == "socket.__new__" and arguments[1] == socket.AF_UNIX and self._paired is None:
            self._paired = self._user_line()  # by a pair of them an event loop of asyncio's is woken

    def _note(self, kind):
        key = (kind, self._user_line())
        self._found[key] = self._found.get(key, 0) + 1

    def _look(self, line_began=False):
        """Threads that Python has not started show in /proc only: they came between the last look and this one."""
        here, now = self._user_line(), preheat_threads.alive()
        for thread in now - self._seen:
            self._born[thread] = _between(self._before, here, line_began)
        self._seen, self._before = now, here

    def _user_line(self):
        """The outermost line of the function's own code: the statement at import that led here."""
        where = _OUTSIDE
        frame = sys._getframe(2)
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith(self._task_root):
                where = "%s:%d" % (path[len(self._task_root) :], frame.f_lineno)
            frame = frame.f_back
        return where


def _polls():
    """Whether something that waits for descriptors (epoll(7)) is open."""
    links = []
    with contextlib.suppress(OSError):
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the listing's own
                links.append(os.readlink("/proc/self/fd/" + fd))
    return "anon_inode:[eventpoll]" in links


def _between(first, second, line_began):
    """What happened after the line `first` began and before `second` did, or before a moment in it was reached."""
    if line_began or first == second:
        return first
    if first == _OUTSIDE:
        return second
    if second == _OUTSIDE:
        return "%s or a later line" % first
    return "%s-%s" % (first, second.rpartition(":")[2])


class _Lines:
    """Tells when a line of the handler's module begins, where Python can at no cost to other code (3.12, PEP 669)."""

    _TOOL = 4  # none of those that are set apart for debuggers, coverage, profilers and optimisers

    def __init__(self, began):
        self._began = began
        self._monitoring = getattr(sys, "monitoring", None)
        self._following = False

    def follow(self, code):
        """The first module that is to be followed is the handler's, and the only one."""
        if self._monitoring is None:
            return
        monitoring, self._monitoring = self._monitoring, None
        with contextlib.suppress(ValueError):  # the function's own code has taken the number
            monitoring.use_tool_id(self._TOOL, "preheat")
            self._following = True
            monitoring.register_callback(self._TOOL, monitoring.events.LINE, lambda *_: self._began(True))
            monitoring.set_local_events(self._TOOL, code, monitoring.events.LINE)

    def end(self):
        if self._following:
            sys.monitoring.register_callback(self._TOOL, sys.monitoring.events.LINE, None)
            sys.monitoring.free_tool_id(self._TOOL)
