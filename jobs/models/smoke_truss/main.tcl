# Three-bar truss, the first of OpenSees' basic examples: the quickest job that still proves that the solver solves.
# Units: kip, inch.

wipe
model BasicBuilder -ndm 2 -ndf 2
node 1 0.0 0.0
node 2 144.0 0.0
node 3 168.0 0.0
node 4 72.0 96.0
fix 1 1 1
fix 2 1 1
fix 3 1 1
uniaxialMaterial Elastic 1 3000.0
element truss 1 1 4 10.0 1
element truss 2 2 4 5.0 1
element truss 3 3 4 5.0 1

timeSeries Linear 1
pattern Plain 1 1 { load 4 100.0 -50.0 }
constraints Plain
numberer RCM
system BandSPD
test NormDispIncr 1.0e-6 6
algorithm Newton
integrator LoadControl 1.0
analysis Static
recorder Node -file node4.out -precision 15 -time -node 4 -dof 1 2 disp

if {[analyze 1] != 0} {
  puts "FAILED: analyze failed"
  exit 1
}
puts "node 4: [nodeDisp 4 1] [nodeDisp 4 2]"
puts [format "last time reached: %.4f" [getTime]]
puts "SUCCESS: truss solved"
wipe
