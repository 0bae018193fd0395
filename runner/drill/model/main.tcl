# An analysis of a known length that leaves a known file: argv is its number and how many quarters of a second it takes.
puts "begin [lindex $argv 0]"
flush stdout
for {set i 0} {$i < [lindex $argv 1]} {incr i} {
  after 250
  puts "step $i"
  flush stdout
}
set f [open out.txt w]
puts $f "job [lindex $argv 0]"
close $f
