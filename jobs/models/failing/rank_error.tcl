# Fails on one rank only, while the others wait for it in a barrier: with plain OpenSeesMP this hangs for ever.
# Run with at least 2 ranks.
if {[getPID] == 1} { error "rank 1 has had enough" }
puts "rank [getPID] waits for rank 1"
flush stdout
barrier
puts "never printed"
