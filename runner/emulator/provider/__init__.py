"""The Pulumi resource provider ``gcp`` of the embedded cloud.

It behaves as the stock plugin does towards the engine and towards the REST routes, and holds no state of its own.
``server`` starts it; ``servicer`` speaks gRPC; ``check``, ``diff``, ``plan`` work on the tables that the families declare
(``storage``, ``identity``, ``iam_members``, ``compute_*`` …) with ``schema``; ``rest`` calls the cloud.
"""
