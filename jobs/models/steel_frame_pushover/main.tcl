# Pushover of a three-storey, two-bay steel moment frame (see README.md).
# Units: kN, m, s, t (so stress in kN/m2 and weight = mass * 9.81). "Time" of the pushover is the base shear in kN.
#
# Run: openseesmp 1 main.tcl [roof drift in percent, default 3.0]

set targetDriftPercent [expr {$argc > 0 ? [lindex $argv 0] : 3.0}]
set numSteps 200

# ---------------------------------------------------------------- geometry, sections, loads
set bayWidth 6.0
set columnLines {1 2 3}
set storeyHeights {4.0 3.5 3.5}
set roofHeight 11.0
set E 2.1e8
set fy 3.55e5
set hardening 1.0e-4   ;# almost none: the plateau can be compared with limit analysis

# depth, flange width, flange thickness, web thickness (fillets left out)
set HEB300 {0.300 0.300 0.0190 0.0110}
set IPE360 {0.360 0.170 0.0127 0.0080}
set IPE270 {0.270 0.135 0.0102 0.0066}

# gravity load of a joint by floor, exterior and interior column line
set gravityExterior {180.0 180.0 120.0}
set gravityInterior {360.0 360.0 240.0}

proc nodeTag {floor line} { return [expr {10 * $floor + $line}] }

# I-section bent about its strong axis, 3 + 20 + 3 layers of fibers over the depth
proc defineISection {tag material dimensions} {
  lassign $dimensions d b tf tw
  set web [expr {$d / 2.0 - $tf}]
  section Fiber $tag {
    patch rect $material 3 1 [expr {-$d / 2.0}] [expr {-$b / 2.0}] [expr {-$web}] [expr {$b / 2.0}]
    patch rect $material 20 1 [expr {-$web}] [expr {-$tw / 2.0}] $web [expr {$tw / 2.0}]
    patch rect $material 3 1 $web [expr {-$b / 2.0}] [expr {$d / 2.0}] [expr {$b / 2.0}]
  }
}

proc stopWith {reason} {
  puts "FAILED: $reason"
  puts [format "last time reached: %.4f" [getTime]]
  wipe
  exit 1
}

# ---------------------------------------------------------------- model
wipe
model BasicBuilder -ndm 2 -ndf 3

set height 0.0
for {set floor 0} {$floor <= 3} {incr floor} {
  if {$floor > 0} { set height [expr {$height + [lindex $storeyHeights $floor-1]}] }
  foreach line $columnLines { node [nodeTag $floor $line] [expr {($line - 1) * $bayWidth}] $height }
}
foreach line $columnLines { fix [nodeTag 0 $line] 1 1 1 }

uniaxialMaterial Steel01 1 $fy $E $hardening
defineISection 1 1 $HEB300
defineISection 2 1 $IPE360
defineISection 3 1 $IPE270
foreach section {1 2 3} { beamIntegration Lobatto $section $section 5 }

geomTransf PDelta 1
geomTransf Linear 2
for {set floor 1} {$floor <= 3} {incr floor} {
  foreach line $columnLines {
    element forceBeamColumn [expr {100 + 10 * $floor + $line}] [nodeTag [expr {$floor - 1}] $line] [nodeTag $floor $line] 1 1
  }
  set beamSection [expr {$floor == 3 ? 3 : 2}]
  foreach line {1 2} {
    element forceBeamColumn [expr {200 + 10 * $floor + $line}] [nodeTag $floor $line] [nodeTag $floor [expr {$line + 1}]] 2 $beamSection
  }
}

# ---------------------------------------------------------------- gravity
timeSeries Linear 1
pattern Plain 1 1 {
  for {set floor 1} {$floor <= 3} {incr floor} {
    set exterior [lindex $gravityExterior $floor-1]
    set interior [lindex $gravityInterior $floor-1]
    load [nodeTag $floor 1] 0.0 [expr {-$exterior}] 0.0
    load [nodeTag $floor 2] 0.0 [expr {-$interior}] 0.0
    load [nodeTag $floor 3] 0.0 [expr {-$exterior}] 0.0
  }
}
constraints Plain
numberer RCM
system BandGeneral
test NormDispIncr 1.0e-10 50
algorithm Newton
integrator LoadControl 0.1
analysis Static
if {[analyze 10] != 0} { stopWith "analyze failed under gravity" }
loadConst -time 0.0
puts "gravity applied"

# ---------------------------------------------------------------- lateral load, inverted triangle, sum 1 kN
# Each floor's share goes to its column lines as the gravity does, so the beams carry hardly any of it as a thrust.
set floorWeights {720.0 720.0 480.0}
set floorHeights {4.0 7.5 11.0}
set sum 0.0
foreach weight $floorWeights floorHeight $floorHeights { set sum [expr {$sum + $weight * $floorHeight}] }
timeSeries Linear 2
pattern Plain 2 2 {
  foreach floor {1 2 3} weight $floorWeights floorHeight $floorHeights {
    set force [expr {$weight * $floorHeight / $sum}]
    foreach line $columnLines share {0.25 0.50 0.25} { load [nodeTag $floor $line] [expr {$share * $force}] 0.0 0.0 }
  }
}

recorder Node -file floors.out -precision 12 -time -node 11 21 31 -dof 1 disp
recorder Node -file base.out -precision 12 -time -node 1 2 3 -dof 1 2 3 reaction
recorder Element -file column_base_hinges.out -precision 12 -time -ele 111 112 113 section 1 deformation

# ---------------------------------------------------------------- push
set roofNode [nodeTag 3 1]
set start [nodeDisp $roofNode 1]     ;# gravity alone bends the beams and spreads the columns a little
set target [expr {$targetDriftPercent / 100.0 * $roofHeight}]
set step [expr {$target / $numSteps}]

# One displacement step; where Newton does not converge, the same step in ten parts with other algorithms.
proc push {node step} {
  integrator DisplacementControl $node 1 $step
  if {[analyze 1] == 0} { return 0 }
  foreach algorithmName {KrylovNewton {ModifiedNewton -initial}} {
    puts "  smaller steps with $algorithmName from roof displacement [nodeDisp $node 1] m"
    eval algorithm $algorithmName
    integrator DisplacementControl $node 1 [expr {$step / 10.0}]
    test NormDispIncr 1.0e-8 500
    set ok [analyze 10]
    test NormDispIncr 1.0e-10 50
    algorithm Newton
    if {$ok == 0} { return 0 }
  }
  return -1
}

proc roofDisplacement {} {
  global roofNode start
  return [expr {[nodeDisp $roofNode 1] - $start}]
}

set maxShear 0.0
for {set i 1} {$i <= $numSteps} {incr i} {
  if {[push $roofNode $step] != 0} {
    stopWith "analyze failed at roof displacement [format %.4f [roofDisplacement]] m of $target m"
  }
  set shear [getTime]
  if {$shear > $maxShear} { set maxShear $shear; set atMax [roofDisplacement] }
  if {$i % 20 == 0} {
    puts [format "step %3d of %d: roof displacement %.4f m, base shear %.2f kN" $i $numSteps [roofDisplacement] $shear]
  }
}

set reached [roofDisplacement]
puts [format "largest base shear: %.4f kN at roof displacement %.4f m" $maxShear $atMax]
puts [format "last time reached: %.4f" [getTime]]
if {abs($reached - $target) > 1.0e-6 * $target} { stopWith "roof displacement $reached m is not the target $target m" }
puts [format "SUCCESS: roof drift of %.2f %% reached, base shear there %.4f kN" [expr {100.0 * $reached / $roofHeight}] [getTime]]
wipe
