# Free vibration of one mass by Newmark's average acceleration: after n steps u = u0 cos(2 n atan(omega dt / 2)), exactly.
set omega [expr {8.0 * atan(1.0)}]
set dt 0.01
model BasicBuilder -ndm 1 -ndf 1
node 1 0.0
node 2 0.0
fix 1 1
mass 2 1.0
uniaxialMaterial Elastic 1 [expr {$omega**2}]
element zeroLength 1 1 2 -mat 1 -dir 1
setNodeDisp 2 1 1.0 -commit
setNodeAccel 2 1 [expr {-1.0 * $omega**2}] -commit
constraints Plain
numberer Plain
system ProfileSPD
algorithm Linear
integrator Newmark 0.5 0.25
analysis Transient
if {[analyze 137 $dt] != 0} { exit 1 }
puts "CHECK transient_disp [nodeDisp 2 1]"
puts "CHECK transient_time [getTime]"
