# A fixed-base portal under a sway load. Without axial shortening its stiffness is 24 E Ic / h^3 (12 r + 1) / (12 r + 4),
# r = (Ib / L) / (2 Ic / h). The columns are force-based fibre elements, so that sections are exercised as well.
set E 200.0e6
set h 4.0
set L 8.0
set width 0.4
set depth 0.6
set Ib [expr {$width * $depth**3 / 12.0}]
model BasicBuilder -ndm 2 -ndf 3
node 1 0.0 0.0
node 2 0.0 $h
node 3 $L $h
node 4 $L 0.0
fix 1 1 1 1
fix 4 1 1 1
equalDOF 2 3 1
fix 2 0 1 0
fix 3 0 1 0
uniaxialMaterial Elastic 1 $E
section Fiber 1 {
  patch rect 1 600 1 [expr {-$depth / 2}] [expr {-$width / 2}] [expr {$depth / 2}] [expr {$width / 2}]
}
geomTransf Linear 1
element forceBeamColumn 1 1 2 5 1 1
element forceBeamColumn 2 4 3 5 1 1
element elasticBeamColumn 3 2 3 [expr {$width * $depth}] $E $Ib 1
pattern Plain 1 Linear {
  load 2 100.0 0.0 0.0
}
constraints Transformation
numberer RCM
system BandGeneral
test NormUnbalance 1.0e-9 20
algorithm Newton
integrator LoadControl 1.0
analysis Static
if {[analyze 1] != 0} { exit 1 }
puts "CHECK frame_sway [nodeDisp 2 1]"
