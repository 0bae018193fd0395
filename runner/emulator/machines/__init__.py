"""The emulated instances: their disks, processes, SSH servers and metadata servers.

What a machine is on the compute API (states, operations, permissions) lives in the rest of ``runner.emulator``; the seam is ``seam.Cloud``.
"""
