# An analysis of a known length that leaves a known file. argv: its number, how many quarters of a second it takes and, where
# somebody counts how often it is run to its end, a file on the host that is told so, and the exit code to end with.
lassign $argv number steps witness code
proc tell_witness {what} {
  global number witness
  if {$witness eq ""} return
  set f [open $witness a]
  puts $f "$what $number [pwd] [clock milliseconds]"
  close $f
}
tell_witness begin
puts "begin $number"
flush stdout
for {set i 0} {$i < $steps} {incr i} {
  after 250
  puts "step $i"
  flush stdout
}
set f [open out.txt w]
puts $f "job $number"
close $f
tell_witness end
if {$code ne "" && $code != 0} {exit $code}
