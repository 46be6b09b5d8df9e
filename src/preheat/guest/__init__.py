"""Code that runs inside an execution environment, in the function's own interpreter.

Standard library only, Python 3.8 to current; imports nothing of preheat. The directory is run as a
script (`python -S <this directory>`), so its modules are top-level names there.
"""
