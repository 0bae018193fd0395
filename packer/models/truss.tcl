# The plane truss of OpenSees' first basic example: three bars, one loaded node.
model BasicBuilder -ndm 2 -ndf 2
foreach {tag x y} {1 0.0 0.0 2 144.0 0.0 3 168.0 0.0 4 72.0 96.0} { node $tag $x $y }
foreach tag {1 2 3} { fix $tag 1 1 }
uniaxialMaterial Elastic 1 3000.0
foreach {tag start area} {1 1 10.0 2 2 5.0 3 3 5.0} { element truss $tag $start 4 $area 1 }
pattern Plain 1 "Linear" {
  load 4 100.0 -50.0
}
system BandSPD
numberer RCM
constraints Plain
integrator LoadControl 1.0
algorithm Linear
analysis Static
if {[analyze 1] != 0} { exit 1 }
puts "CHECK truss_ux [nodeDisp 4 1]"
puts "CHECK truss_uy [nodeDisp 4 2]"
