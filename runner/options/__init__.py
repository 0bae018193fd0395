"""The options of each verb: its flags with types, defaults and help, its description and its exit codes, which are spelled nowhere else.

``tasks.py`` builds Invoke's tasks from these classes, and ``runner.cli.verbs`` and the commands are handed the filled-in values. Nothing
here acts on them, or imports more than the standard library and ``runner.errors``: ``invoke --list`` loads all of it.
"""
