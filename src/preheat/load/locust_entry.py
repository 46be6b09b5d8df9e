"""`python -m preheat.load.locust_entry REQUESTS_CSV [locust arguments]`: stock Locust with the hook installed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main() -> None:
    import locust.main  # first: it monkey-patches the standard library for gevent

    from preheat.load import hook

    # A background job of a shell inherits an ignored SIGINT, and Locust stops gracefully on no other signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hook.install(Path(sys.argv[1]))
    sys.argv = ["locust", *sys.argv[2:]]
    locust.main.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
