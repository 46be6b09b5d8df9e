"""Page faults of a forked child of the example, step by step: what `guest/preheat_snapshot.py` moves or avoids."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.cloud import EXAMPLE, deploy, up
from bench.processes import own_environment

PROGRAM = '''
import ctypes, gc, json, os, resource, sys, time
sys.path[:0] = [os.getcwd(), sys.argv[1]]
from preheat.sandbox import pages
import preheat_client, preheat_isolation, preheat_snapshot
preheat_client.without_native_client()
import lambda_function, numpy, _ssl
event = {"body": open(sys.argv[2]).read()}


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def child(*steps, held=None):
    """Faults and µs of each step, one after the other in one forked child; `held` gets its pid before it ends."""
    told, telling = os.pipe()
    go, going = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = []
        for step in steps:
            before, began = faults(), time.perf_counter_ns()
            step()
            found.append([faults() - before, (time.perf_counter_ns() - began) // 1000])
        os.write(telling, json.dumps(found).encode())
        os.read(go, 1)
        os._exit(0)
    answer = json.loads(os.read(told, 65536))
    kept = held(pid) if held else None
    os.write(going, b"x")
    os.waitpid(pid, 0)
    return kept if held else answer


handle = lambda: lambda_function.lambda_handler(event, None)
prepare = lambda: (preheat_snapshot._refresh_randomness(), preheat_snapshot._warm_up())
gc.collect()
gc.freeze()
child(lambda: None)
[seed] = child(numpy.random.seed)
words = lambda: numpy.frombuffer(os.urandom(624 * 4), dtype="uint32")
[state] = child(lambda: numpy.random.set_state(("MT19937", words(), 624)))
[ssl_first] = child(lambda: _ssl.RAND_add(b"x" * 32, 32.0))
[libc_first] = child(lambda: ctypes.CDLL(None, use_errno=True).getpid())
prepare(), preheat_isolation._libc().getpid()
gc.collect()
gc.freeze()
[ssl_then] = child(lambda: _ssl.RAND_add(b"x" * 32, 32.0))
[libc_then] = child(lambda: preheat_isolation._libc().getpid())
_, plain = child(prepare, handle)
written = child(prepare, handle, held=pages.written)
ranges = list(pages.RANGE.iter_unpack(written))
copy = lambda: [preheat_isolation.copy_pages(*one) for one in ranges]
_, copying, ahead = child(prepare, copy, handle)
print(json.dumps({
    "numpy.random.seed()": seed, "numpy.random.set_state(...)": state,
    "OpenSSL's generator, first use": ssl_first, "OpenSSL's generator, used before the fork": ssl_then,
    "libc by ctypes, first use": libc_first, "libc by ctypes, used before the fork": libc_then,
    "the handler": plain, "to copy ahead what it writes to": copying, "the handler after that": ahead,
}))
'''


def faults(folder: Path) -> str:
    """Counts do not depend on what else the machine does; times do."""
    import preheat

    guest = Path(preheat.__file__).parent / "guest"
    with up(folder / "faults", folder / "faults.log") as cloud:
        build = deploy(cloud).build_dir
        arguments = [sys.executable, "-c", PROGRAM, str(guest), str((EXAMPLE / "sample.json").resolve())]
        done = subprocess.run(arguments, cwd=build, env=own_environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return "page faults in a forked child\n" + "\n".join(
        f"  {what:<44} {count:>5} faults {spent_us:>6} µs" for what, (count, spent_us) in found.items()
    )
