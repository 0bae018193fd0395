"""This machine: files that are whole or not there, locks, signals, pauses that grow.

Nothing here knows of a cloud or of a batch. Each module is imported by name.
"""
