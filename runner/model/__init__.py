"""The domain model, as values: jobs files, plans, prices, names, settings, states, events, and the decisions about them.

Pure: nothing here reads a file, a clock or a network, or imports any module of ours but ``runner.errors``. Each module is imported by name.
"""
