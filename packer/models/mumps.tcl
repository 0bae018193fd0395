# A bar of twenty pieces, half of them on each of two ranks, pulled at its end: u = P L / (E A).
if {[getNP] != 2} { exit 1 }
set rank [getPID]
set first [expr {1 + 10 * $rank}]
model BasicBuilder -ndm 1 -ndf 1
for {set tag $first} {$tag <= $first + 10} {incr tag} { node $tag [expr {0.1 * ($tag - 1)}] }
uniaxialMaterial Elastic 1 1000.0
for {set tag $first} {$tag < $first + 10} {incr tag} { element truss $tag $tag [expr {$tag + 1}] 2.0 1 }
if {$rank == 0} { fix 1 1 }
pattern Plain 1 Linear {
  if {$rank == 1} { load 21 5.0 }
}
constraints Plain
numberer ParallelPlain
system Mumps
integrator LoadControl 1.0
algorithm Linear
analysis Static
if {[analyze 1] != 0} { exit 1 }
barrier
if {$rank == 0} {
  send -pid 1 [nodeDisp 11 1]
} else {
  recv -pid 0 middle
  puts "CHECK mumps_tip [nodeDisp 21 1]"
  puts "CHECK mumps_middle_of_rank_0 $middle"
}
