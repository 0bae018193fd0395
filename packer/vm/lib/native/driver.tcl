# Runs a user's script inside the real OpenSees or OpenSeesMP, whose own exit code means nothing: it is 0 after a Tcl error,
# and after an error on one rank of several the others wait forever. `OpenSeesMP driver.tcl main.tcl [args]`.
# The script's exit code is reported to the launcher's pipe, if there is one; the launcher ends all ranks after an error.

namespace eval ::opensees_hpc {
  variable report {}
  variable rank 0
  variable wait_for_launcher_ms 10000

  proc open_report {} {
    variable report
    variable rank
    if {[info exists ::env(PMI_RANK)]} { set rank $::env(PMI_RANK) }
    if {[info exists ::env(OPENSEES_HPC_REPORT_FD)]} {
      set report [open /dev/fd/$::env(OPENSEES_HPC_REPORT_FD) w]
      fconfigure $report -buffering line
      puts $report "begin $rank [pid]"
    }
  }

  # OpenSees prints a message when it exits; a script's last output without a newline must stay a line of its own. This can be
  # checked only in a file such as a job's log.
  proc end_last_line {} {
    foreach channel {stdout stderr} fd {1 2} {
      catch {
        set written [open /dev/fd/$fd rb]
        try {
          seek $written -1 end
          if {[read $written 1] ne "\n"} {
            puts $channel {}
            flush $channel
          }
        } finally { close $written }
      }
    }
  }

  # Ends this rank: wipe flushes results; after an error it reports and waits for the launcher, as MPI_Finalize would hang.
  proc leave {code} {
    variable report
    variable rank
    variable wait_for_launcher_ms
    catch { wipe }
    foreach channel [chan names] { catch { flush $channel } }
    end_last_line
    if {$report ne {}} {
      puts $report "end $rank $code"
      if {$code != 0} { after $wait_for_launcher_ms }
    }
    ::opensees_hpc::tcl_exit $code
  }

  proc take_exit {} {
    rename ::exit ::opensees_hpc::tcl_exit
    proc ::exit {{code 0}} {
      if {![string is integer -strict $code]} { return -code error "expected integer but got \"$code\"" }
      ::opensees_hpc::leave [expr {$code & 255}]
    }
    interp alias {} ::quit {} ::exit
  }

  proc run {words} {
    variable rank
    set ::argv0 [lindex $words 0]
    set ::argv [lrange $words 1 end]
    set ::argc [llength $::argv]
    if {[catch { uplevel #0 [list source $::argv0] } message options]} {
      puts stderr "openseesmp: Tcl error on rank $rank in $::argv0:\n[dict get $options -errorinfo]"
      leave 1
    }
    leave 0
  }
}

::opensees_hpc::open_report
::opensees_hpc::take_exit
::opensees_hpc::run $::argv
