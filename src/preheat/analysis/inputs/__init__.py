"""Readers of what others wrote: Locust's files and Lambda's logs, in every form they are handed around in."""
