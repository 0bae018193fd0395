# Concrete shear wall in plane stress, cut into horizontal slices, one a rank, solved together by MUMPS (see README.md).
# Units: kN, m.
#
# Run: openseesmp N main.tcl          any N up to the number of rows; rank 0 has the base, the last rank the top

set pid [getPID]
set np [getNP]
set width 4.0
set height 12.0
set thickness 0.25
set E 3.0e7
set poisson 0.2
set numColumns 8
set numRows 24
set topForce 500.0

if {$np > $numRows} {
  puts "FAILED: $np ranks for $numRows rows"
  exit 2
}

# Rows of this rank. Nodes on a cut exist on both ranks: same tag, same place.
set firstRow [expr {$numRows * $pid / $np}]
set endRow [expr {$numRows * ($pid + 1) / $np}]
set isTop [expr {$pid == $np - 1}]
proc nodeTag {column row} {
  global numColumns
  return [expr {1 + $column + $row * ($numColumns + 1)}]
}

wipe
model BasicBuilder -ndm 2 -ndf 2
for {set row $firstRow} {$row <= $endRow} {incr row} {
  for {set column 0} {$column <= $numColumns} {incr column} {
    node [nodeTag $column $row] [expr {$width * $column / $numColumns}] [expr {$height * $row / $numRows}]
  }
}
if {$pid == 0} {
  for {set column 0} {$column <= $numColumns} {incr column} { fix [nodeTag $column 0] 1 1 }
}

nDMaterial ElasticIsotropic 1 $E $poisson
for {set row $firstRow} {$row < $endRow} {incr row} {
  for {set column 0} {$column < $numColumns} {incr column} {
    set right [expr {$column + 1}]
    set up [expr {$row + 1}]
    element quad [nodeTag $column $row] [nodeTag $column $row] [nodeTag $right $row] [nodeTag $right $up] [nodeTag $column $up] $thickness PlaneStress 1
  }
}
puts "rank $pid of $np: rows $firstRow to [expr {$endRow - 1}]"

# The load stands on one rank only: a node that two ranks share would get it twice.
timeSeries Linear 1
pattern Plain 1 1 {
  if {$isTop} {
    for {set column 0} {$column <= $numColumns} {incr column} {
      set share [expr {$column == 0 || $column == $numColumns ? 0.5 : 1.0}]
      load [nodeTag $column $numRows] [expr {$topForce * $share / $numColumns}] 0.0
    }
  }
}

constraints Plain
numberer ParallelPlain
system Mumps
test NormDispIncr 1.0e-12 10
algorithm Linear
integrator LoadControl 0.25
analysis Static
set ok [analyze 4]
if {$ok != 0} {
  puts "FAILED: analyze failed on rank $pid at load factor [getTime]"
  puts [format "last time reached: %.4f" [getTime]]
  exit 1
}

set out [open "nodes-rank$pid.csv" w]
puts $out "node,ux_m,uy_m"
for {set row $firstRow} {$row <= $endRow} {incr row} {
  for {set column 0} {$column <= $numColumns} {incr column} {
    set node [nodeTag $column $row]
    puts $out [format "%d,%.12e,%.12e" $node [nodeDisp $node 1] [nodeDisp $node 2]]
  }
}
close $out

# Rank 0 says how it ended, so it asks the last rank for the roof and checks equilibrium at the base.
set corner [nodeTag 0 $numRows]
if {$isTop} { set roof [nodeDisp $corner 1] }
if {$np > 1} {
  if {$isTop} { send -pid 0 $roof }
  if {$pid == 0} { recv -pid [expr {$np - 1}] roof }
}
if {$pid == 0} {
  reactions
  set shear 0.0
  for {set column 0} {$column <= $numColumns} {incr column} { set shear [expr {$shear - [nodeReaction [nodeTag $column 0] 1]}] }
  puts [format "roof displacement %.9e m, base shear %.6f kN" $roof $shear]
  puts [format "last time reached: %.4f" [getTime]]
  if {abs($shear - $topForce) > 1.0e-6 * $topForce} {
    puts "FAILED: base shear $shear kN is not the load $topForce kN"
    exit 1
  }
  puts "SUCCESS: base shear balances the load of $topForce kN on $np ranks"
}
wipe
