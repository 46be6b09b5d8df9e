"""Floor 0: pure values and decisions, standard library only."""
