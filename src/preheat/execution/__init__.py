"""Floor 2: execution environments, the pools they serve from, and the record of what they did."""
