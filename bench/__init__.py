"""`make bench`: Preheat beside its peers, in one run, as ratios. docs/bench.md says how each row is measured."""
