"""Floor 0: pure values and decisions: the standard library, and msgspec for the values made on every request
(a frozen dataclass of InvocationDone's size takes 4.9 us to make, a msgspec.Struct 0.4: docs/design-defence.md)."""
