"""What everything else runs on: the Python environment beside ``bootstrap`` and the Pulumi CLI in a cache of the user's.

``bootstrap`` calls in here when something is missing; when nothing is missing, two stamp files alone tell it so.
"""
