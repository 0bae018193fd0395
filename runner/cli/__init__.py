"""The command line: the verbs of ``tasks.py``, what they print on a terminal or as JSON lines, and how they end.

Nothing here decides anything about a batch. ``verbs`` is imported when one is called, so that ``invoke --list`` stays quick.
"""
