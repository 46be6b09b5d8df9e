"""No committed text may tie the repository to one machine: its paths, or the hosts its packages come from.

What must not appear is taken from the machine this runs on (clone, home, pip's configuration), so that
nothing of the sort has to be written here either. Exit status 1 and one line per find.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

PUBLIC_REGISTRIES = ("pypi" + ".org", "files." + "pythonhosted.org", "registry." + "npmjs.org", "proxy." + "golang.org")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|workspace|workspaces|Users)/\w")


def pip_hosts(configuration: str) -> set[str]:
    """Host names in `pip config list` (lines such as `global.index-url='https://host/simple'`)."""
    urls = re.findall(r"[a-z+]+://[^\s'\"\\]+", configuration)
    return {host for url in urls if (host := urlsplit(url).hostname) and host != "localhost"}


def forbidden_words() -> list[str]:
    """Strings of this machine: its clone, its home directory, the hosts pip is told to use."""
    root = Path.cwd().resolve()
    configuration = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    homes = [f"{home}/" for home in (Path.home(),) if len(home.parts) > 1]
    return [f"{root}/", *homes, *PUBLIC_REGISTRIES, *sorted(pip_hosts(configuration))]


def finds(text: str, words: Iterable[str]) -> Iterator[tuple[int, str]]:
    """(line number, what was found) for every line of `text` that names a machine or a registry."""
    for number, line in enumerate(text.splitlines(), start=1):
        for word in words:
            if word in line:
                yield number, word
        if match := MACHINE_PATH.search(line):
            yield number, match.group()


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=False
    )
    if listed.returncode:
        print(f"check_text: git cannot list this clone's files: {listed.stderr.decode().strip()}")
        return 1
    words = forbidden_words()
    found = 0
    for name in listed.stdout.decode().split("\0"):
        path = Path(name)
        if not name or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # pictures and models
        for number, word in finds(text, words):
            print(f"{name}:{number}: carries {word!r}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
