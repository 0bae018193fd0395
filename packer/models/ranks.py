"""OpenSeesPy on two ranks: each prints its number, and rank 1 what a two-bar model gives."""

import openseespy.opensees as ops

ops.model("basic", "-ndm", 1, "-ndf", 1)
for tag in (1, 2, 3):
    ops.node(tag, tag - 1.0)
ops.fix(1, 1)
ops.uniaxialMaterial("Elastic", 1, 100.0)
ops.element("truss", 1, 1, 2, 1.0, 1)
ops.element("truss", 2, 2, 3, 2.0, 1)
ops.timeSeries("Linear", 1)
ops.pattern("Plain", 1, 1)
ops.load(3, 4.0)
ops.constraints("Plain")
ops.numberer("Plain")
ops.system("ProfileSPD")
ops.algorithm("Linear")
ops.integrator("LoadControl", 1.0)
ops.analysis("Static")
assert ops.getNP() == 2 and ops.analyze(1) == 0  # noqa: S101
ops.barrier()
if ops.getPID() == 1:
    print(f"CHECK python_tip {ops.nodeDisp(3, 1)!r}", flush=True)  # noqa: T201
