# Fails without a word: as not_converged.tcl, but nobody looks at what analyze returns, and the exit code is 0.
# Only what the jobs file expects (end_time_s), or a look at the log, tells that the result is cut off.

source overloaded_spring.tcl
analyze 10
puts "displacement [nodeDisp 2 1] m"
puts [format "last time reached: %.4f" [getTime]]
wipe
