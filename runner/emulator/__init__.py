"""The embedded cloud: a local Google Cloud that real clients and the real Pulumi engine talk to.

Nothing here knows of clients, batches or jobs, and no client code is used: what it does is what Google documents.
"""
