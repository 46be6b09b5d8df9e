"""What init does that a snapshot cannot carry over: connections, threads, cached credentials.

Watched during the template's init only; each finding names the line of the function's code that led to it.
"""

import os
import sys
import threading

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ADVICE = {
    "connection": "opens a network connection during init; it is dead or shared in every restored environment: "
    "connect in an after-restore hook (snapshot_restore_py.register_after_restore) or in the handler",
    "thread": "starts a thread during init; threads do not survive the snapshot: "
    "start it in an after-restore hook or in the handler",
    "credential": "reads credentials during init; they are old when an environment is restored: "
    "create the client in the handler or refresh it in an after-restore hook",
}


def start(task_root):
    return Watch(os.path.realpath(task_root))


class Watch:
    def __init__(self, task_root):
        self._task_root = task_root
        self._active = True
        self._found = {}
        watch = self

        class WatchedEnviron(type(os.environ)):
            def __getitem__(self, key):
                if key in _SECRETS and watch._active:
                    watch._note("credential")
                return super().__getitem__(key)

        def watched_start(thread):
            watch._note("thread")
            return self._thread_start(thread)

        os.environ.__class__ = WatchedEnviron
        self._thread_start = threading.Thread.start
        threading.Thread.start = watched_start  # the audit event for it came with Python 3.12
        sys.addaudithook(self._audit)

    def findings(self):
        """End watching. A list of {"kind", "where", "text"}, threads still alive named."""
        self._active = False
        os.environ.__class__ = type(os.environ).__mro__[1]
        threading.Thread.start = self._thread_start
        alive = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        found = []
        for (kind, where), count in sorted(self._found.items()):
            if kind == "thread" and not alive:
                continue  # it has ended by itself
            text = _ADVICE[kind] + (" (alive: %s)" % ", ".join(alive) if kind == "thread" else "")
            found.append({"kind": kind, "where": where, "text": text, "count": count})
        return found

    def _audit(self, event, arguments):
        if self._active and event == "socket.connect" and isinstance(arguments[1], tuple):
            self._note("connection")

    def _note(self, kind):
        key = (kind, self._user_line())
        self._found[key] = self._found.get(key, 0) + 1

    def _user_line(self):
        """The outermost line of the function's own code: the statement at import that led here."""
        where = "code outside the function"
        frame = sys._getframe(2)
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith(self._task_root + os.sep):
                where = "%s:%d" % (os.path.relpath(path, self._task_root), frame.f_lineno)
            frame = frame.f_back
        return where
