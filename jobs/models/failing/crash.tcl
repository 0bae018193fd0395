# Fails by a signal, as a solver does that reads where it must not: no message, no exit code of its own.
puts "about to crash"
flush stdout
exec sh -c "kill -SEGV [pid]"
after 60000
