"""`python -m preheat` is `preheat`."""

from preheat.cli.main import main

main()
