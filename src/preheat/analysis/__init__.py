"""The study of a run: which requests were cold, what that cost, and how sure we are."""
