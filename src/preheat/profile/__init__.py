"""Where a function's init goes: measured import by import and statement by statement, in its own interpreter."""
