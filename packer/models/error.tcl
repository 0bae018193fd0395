# An error on one rank while the other waits for it: the run must end, and not with 0.
if {[getPID] == 1} { element truss 1 1 2 1.0 99 }
barrier
