# Peak drift ratio of a portal frame with yielding column bases under one scaled earthquake record.
# Units: kN, m, s, t.
#
# Run: opensees portal_frame.tcl <input.csv> <output.txt>
#      input: Young's modulus in GPa, yield moment of a base in kNm, mass of the roof in t, damping ratio, factor on the record
#      the record, in g every 0.01 s, is beside this file

lassign $argv inputFile outputFile
set in [open $inputFile r]
lassign [split [string trim [read $in]] ","] modulus yieldMoment mass damping factor
close $in

set height 4.0
set span 8.0
set E [expr {$modulus * 1.0e6}]
set columnI 2.5e-4
set beamI 6.0e-4
set area 1.0e-2
set hingeStiffness [expr {60.0 * $E * $columnI / $height}]
set hardening 0.02

wipe
model BasicBuilder -ndm 2 -ndf 3
node 1 0.0 0.0
node 2 $span 0.0
node 11 0.0 0.0
node 12 $span 0.0
node 3 0.0 $height
node 4 $span $height
fix 1 1 1 1
fix 2 1 1 1
equalDOF 1 11 1 2
equalDOF 2 12 1 2
uniaxialMaterial Steel01 1 $yieldMoment $hingeStiffness $hardening
element zeroLength 1 1 11 -mat 1 -dir 6
element zeroLength 2 2 12 -mat 1 -dir 6
geomTransf Linear 1
element elasticBeamColumn 3 11 3 $area $E $columnI 1
element elasticBeamColumn 4 12 4 $area $E $columnI 1
element elasticBeamColumn 5 3 4 $area $E $beamI 1
mass 3 [expr {$mass / 2.0}] 1.0e-6 1.0e-6
mass 4 [expr {$mass / 2.0}] 1.0e-6 1.0e-6

set omega [expr {sqrt([lindex [eigen -fullGenLapack 1] 0])}]
rayleigh [expr {2.0 * $damping * $omega}] 0.0 0.0 0.0

set in [open [file join [file dirname [info script]] record.txt] r]
set accelerations [read $in]
close $in
timeSeries Path 1 -dt 0.01 -values $accelerations -factor [expr {9.81 * $factor}]
pattern UniformExcitation 1 1 -accel 1

constraints Transformation
numberer Plain
system BandGeneral
test NormDispIncr 1.0e-9 50
algorithm Newton
integrator Newmark 0.5 0.25
analysis Transient

set peak 0.0
for {set step 0} {$step < 2500} {incr step} {
  if {[analyze 1 0.01] != 0} { error "analyze failed at step $step" }
  set drift [expr {abs([nodeDisp 3 1]) / $height}]
  if {$drift > $peak} { set peak $drift }
}
puts [format "T = %.3f s, peak drift %.3f %%" [expr {2.0 * acos(-1.0) / $omega}] [expr {100.0 * $peak}]]

# Written under another name first: a number that is there is whole.
set out [open $outputFile.part w]
puts $out [format "%.9e" $peak]
close $out
file rename $outputFile.part $outputFile
