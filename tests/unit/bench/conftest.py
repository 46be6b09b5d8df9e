"""`bench` is a package of the repository, not of the distribution: put the repository on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
