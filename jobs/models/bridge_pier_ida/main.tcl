# Time history of a bridge pier with a plastic hinge at its base under one scaled record (see README.md).
# Units: kN, m, s, t.
#
# Run: openseesmp 1 main.tcl <record> <scale>        record: northridge or kobe (a file in records/, in g)

if {$argc != 2} {
  puts "usage: main.tcl <record> <scale>"
  exit 2
}
lassign $argv record scale
set recordFile "records/$record.txt"
if {![file exists $recordFile]} {
  puts "FAILED: no record $recordFile"
  exit 2
}

# ---------------------------------------------------------------- pier
set g 9.81
set mass 600.0
set height 7.0
set EI 5.6e6                                     ;# cracked
set stiffness [expr {3.0 * $EI / $height ** 3}]
set yieldForce [expr {0.15 * $mass * $g}]
set hardening 0.02
set dampingRatio 0.05

set recordStep 0.01
set dt 0.005
set endTime 45.0                                 ;# the longest record, then free vibration

wipe
model BasicBuilder -ndm 1 -ndf 1
node 1 0.0
node 2 0.0
fix 1 1
mass 2 $mass
uniaxialMaterial Steel01 1 $yieldForce $stiffness $hardening
element zeroLength 1 1 2 -mat 1 -dir 1

set omega [expr {sqrt($stiffness / $mass)}]
rayleigh [expr {2.0 * $dampingRatio * $omega}] 0.0 0.0 0.0
puts [format "%s x %s: T = %.4f s, yield displacement %.5f m" $record $scale [expr {2.0 * acos(-1.0) / $omega}] [expr {$yieldForce / $stiffness}]]

# One zero after the record: else rounding of the time decides whether its last point counts.
set in [open $recordFile r]
set accelerations [concat [read $in] 0.0]
close $in
timeSeries Path 1 -dt $recordStep -values $accelerations -factor [expr {$scale * $g}]
pattern UniformExcitation 1 1 -accel 1

recorder Node -file displacement.out -precision 12 -time -node 2 -dof 1 disp
recorder Element -file hinge.out -precision 12 -time -ele 1 force

# ---------------------------------------------------------------- analysis
constraints Plain
numberer Plain
system BandGeneral
test NormDispIncr 1.0e-12 50
algorithm Newton
integrator Newmark 0.5 0.25
analysis Transient

# One step of dt; where Newton does not converge, the same step in ten parts.
proc advance {dt} {
  if {[analyze 1 $dt] == 0} { return 0 }
  algorithm ModifiedNewton -initial
  set ok [analyze 10 [expr {$dt / 10.0}]]
  algorithm Newton
  return $ok
}

set numSteps [expr {round($endTime / $dt)}]
set peak 0.0
set peakTime 0.0
for {set i 1} {$i <= $numSteps} {incr i} {
  if {[advance $dt] != 0} {
    puts "FAILED: analyze failed at t = [getTime] s of $endTime s"
    puts [format "last time reached: %.4f" [getTime]]
    wipe
    exit 1
  }
  set displacement [nodeDisp 2 1]
  if {abs($displacement) > abs($peak)} { set peak $displacement; set peakTime [getTime] }
  if {$i % 1000 == 0} { puts [format "t = %.3f s of %.3f s" [getTime] $endTime] }
}

set ductility [expr {abs($peak) * $stiffness / $yieldForce}]
set residual [nodeDisp 2 1]
set out [open peaks.csv w]
puts $out "record,scale,peak_m,peak_time_s,ductility,displacement_at_end_m"
puts $out [format "%s,%s,%.12e,%.4f,%.6f,%.12e" $record $scale $peak $peakTime $ductility $residual]
close $out

puts [format "peak displacement %.6f m at t = %.3f s, ductility %.3f" $peak $peakTime $ductility]
puts [format "last time reached: %.4f" [getTime]]
puts [format "SUCCESS: %s x %s ran to the end, t = %.3f s" $record $scale [getTime]]
wipe
