# Fails by non-convergence, and says so: an elastic, perfectly plastic spring is loaded to twice its strength.
# Units: kN, m. Load factor 1.0 is twice the strength, so it cannot be carried beyond 0.5.

source overloaded_spring.tcl
for {set i 1} {$i <= 10} {incr i} {
  if {[analyze 1] != 0} {
    puts "FAILED: analyze failed at load factor [format %.2f [getTime]] of 1.00"
    puts [format "last time reached: %.4f" [getTime]]
    wipe
    exit 1
  }
  puts [format "load factor %.2f of 1.00: displacement %.6f m" [getTime] [nodeDisp 2 1]]
}
wipe
