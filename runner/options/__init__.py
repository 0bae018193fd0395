"""What each verb can be asked for: its flags with types, defaults and help, its description and its exit codes. Each is spelled here only.

``tasks.py`` builds Invoke's tasks from these classes; ``runner.cli.verbs`` and the commands are given one filled in. Nothing here does what
is asked, or imports more than the standard library and ``runner.errors``: ``invoke --list`` loads all of it.
"""
