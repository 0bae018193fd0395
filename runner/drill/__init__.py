"""The fire drill: inject faults into batches, and check that no resource is left over and no result is lost. See docs/drill.md.

It works from outside: it starts ``invoke`` as a user would, injects faults, and queries the cloud itself. No command knows that it is
part of a drill.
"""
