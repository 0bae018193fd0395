"""The fire drill: fault injection into batches, and whether anything was left over or lost. See docs/drill.md.

It works from outside: it starts ``invoke`` as a user would, injects faults, and asks the cloud itself. No command knows that it is
part of a drill.
"""
