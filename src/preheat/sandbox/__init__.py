"""Floor 1: the mechanisms that run a runtime process, behind one Protocol."""
