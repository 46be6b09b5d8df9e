"""The command line: one file per command group, each exposing `command`, loaded only when called."""
