"""This computer: files that are complete or absent, locks, lines, signals, growing delays.

Nothing here knows of a cloud or of a batch. Each module is imported by name.
"""
