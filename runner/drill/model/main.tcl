# An analysis of a known duration that writes a known file. argv: its number, its duration in quarters of a second, and, for trials
# that count its runs, a file on the host in which it records its begin and end, and the exit code to end with.
lassign $argv number steps witness code
proc record_witness {what} {
  global number witness
  if {$witness eq ""} return
  set f [open $witness a]
  puts $f "$what $number [pwd] [clock milliseconds]"
  close $f
}
record_witness begin
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
record_witness end
if {$code ne "" && $code != 0} {exit $code}
