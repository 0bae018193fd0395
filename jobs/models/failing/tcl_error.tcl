# Fails by a Tcl error: a slip of the pen in the name of a command.
puts "building the model"
model BasicBuilder -ndm 1 -ndf 1
node 1 0.0
fixx 1 1
puts "never printed"
