"""The fire drill: batches that are harmed on purpose, and whether anything was left or lost. See docs/drill.md.

It does from outside what a user's day does: it starts ``invoke`` as a user would, kills what can be killed, and asks the cloud
itself. No command knows that it is in a drill.
"""
