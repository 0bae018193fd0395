"""The meaning of everything, as values: jobs files, plans, prices, names, settings, states, events, and the decisions about them.

Pure: nothing here reads a file, a clock or a network, or imports anything of ours but ``runner.errors``. Each module is imported by name.
"""
