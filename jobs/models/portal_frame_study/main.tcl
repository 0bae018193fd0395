# Parameter study: sway stiffness and period of portal frames, the cases shared out over the ranks (see README.md).
# Units: kN, m, s, t. Cases: one a line in cases.cdata (name, height, span, column I, beam I, mass).
#
# Run: openseesmp N main.tcl          any N; rank r takes cases r, r + N, r + 2N, ...

set pid [getPID]
set np [getNP]
set E 2.1e8
set rigidArea 1.0e3      ;# members do not lengthen, as in the closed form
set force 100.0

proc readCases {path} {
  set in [open $path r]
  set cases {}
  foreach line [split [read $in] "\n"] {
    set line [string trim $line]
    if {$line eq "" || [string index $line 0] eq "#"} { continue }
    if {[llength $line] != 6} { error "six values expected in $path: $line" }
    lappend cases $line
  }
  close $in
  return $cases
}

# Drift in m under the lateral force and period in s of one frame with fixed bases.
proc analyzeFrame {height span columnI beamI mass} {
  global E rigidArea force
  wipe
  model BasicBuilder -ndm 2 -ndf 3
  node 1 0.0 0.0
  node 2 $span 0.0
  node 3 0.0 $height
  node 4 $span $height
  fix 1 1 1 1
  fix 2 1 1 1
  geomTransf Linear 1
  element elasticBeamColumn 1 1 3 $rigidArea $E $columnI 1
  element elasticBeamColumn 2 2 4 $rigidArea $E $columnI 1
  element elasticBeamColumn 3 3 4 $rigidArea $E $beamI 1
  mass 3 [expr {$mass / 2.0}] 0.0 0.0
  mass 4 [expr {$mass / 2.0}] 0.0 0.0

  timeSeries Linear 1
  pattern Plain 1 1 {
    load 3 [expr {$force / 2.0}] 0.0 0.0
    load 4 [expr {$force / 2.0}] 0.0 0.0
  }
  constraints Plain
  numberer Plain
  system FullGeneral
  test NormUnbalance 1.0e-8 10
  algorithm Linear
  integrator LoadControl 1.0
  analysis Static
  if {[analyze 1] != 0} { error "analyze failed" }
  set drift [nodeDisp 3 1]
  set eigenvalue [lindex [eigen 1] 0]
  return [list $drift [expr {2.0 * acos(-1.0) / sqrt($eigenvalue)}]]
}

set cases [readCases cases.cdata]
set part [open "frames-rank$pid.csv" w]
set done 0
for {set i $pid} {$i < [llength $cases]} {incr i $np} {
  set case [lindex $cases $i]
  lassign [analyzeFrame {*}[lrange $case 1 end]] drift period
  puts $part [format "%s,%d,%.12e,%.12e" [lindex $case 0] $pid $drift $period]
  puts [format "rank %d: %s drift %.6f m, period %.4f s" $pid [lindex $case 0] $drift $period]
  incr done
}
close $part
puts "rank $pid of $np: $done of [llength $cases] cases"

# Every part is on disk once all ranks have come here; rank 0 puts them together.
barrier
if {$pid == 0} {
  set lines {}
  for {set rank 0} {$rank < $np} {incr rank} {
    set in [open "frames-rank$rank.csv" r]
    foreach line [split [string trim [read $in]] "\n"] { if {$line ne ""} { lappend lines $line } }
    close $in
  }
  set out [open frames.csv w]
  puts $out "case,rank,drift_m,period_s"
  foreach line [lsort $lines] { puts $out $line }
  close $out
  if {[llength $lines] != [llength $cases]} {
    puts "FAILED: [llength $lines] of [llength $cases] cases have results"
    exit 1
  }
  puts "SUCCESS: [llength $lines] cases on $np ranks"
}
wipe
