"""This computer: files that are whole or not there, locks, lines, signals, delays that grow.

Nothing here knows of a cloud or of a batch. Each module is imported by name.
"""
