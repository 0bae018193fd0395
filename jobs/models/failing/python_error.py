"""Fails by a Python exception: the model has no node 2."""

import openseespy.opensees as ops

ops.wipe()
ops.model("basic", "-ndm", 1, "-ndf", 1)
ops.node(1, 0.0)
coordinates = {1: ops.nodeCoord(1)}
print(f"node 2 is at {coordinates[2]}")
