"""The verbs of ``tasks.py``, each a function of the options in the module of ``runner.options`` that has the same name.

A verb builds a context, calls a command, prints, and returns the exit code.
"""
