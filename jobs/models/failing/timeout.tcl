# Never ends: it waits for a file that nobody writes. The job's timeout_min ends it.
set waited 0
while {![file exists there_is_no_such_file]} {
  puts "waited $waited s"
  flush stdout
  after 1000
  incr waited
}
