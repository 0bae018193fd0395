# Tcl side of the front end: OpenSees commands as Tcl commands, bodies in braces, exit, unknown commands.
# Python has defined ::opensees::call, which returns {ok value} or {error text}, before this file is sourced.

encoding system utf-8
fconfigure stdout -buffering line -encoding utf-8
fconfigure stderr -buffering none -encoding utf-8

namespace eval ::opensees {
  variable fiber_sections {fiber* ndfiber* asymmetricfiber*}

  # Defines one OpenSees command. A Tcl command of the same name (load) stays available as ::opensees::tcl_NAME.
  proc define {name} {
    if {[llength [info commands ::$name]]} {
      rename ::$name ::opensees::tcl_$name
    }
    proc ::$name args "
      lassign \[::opensees::call [list $name] {*}\$args\] ::opensees::status ::opensees::value
      if {\$::opensees::status eq {error}} { return -code error \$::opensees::value }
      return \$::opensees::value
    "
  }

  # Like define, for a command whose last word may be a body; ::opensees::split_NAME returns {arguments body}.
  proc define_with_body {name} {
    define $name
    rename ::$name ::opensees::plain_$name
    proc ::$name args "
      lassign \[::opensees::split_$name \$args\] arguments body
      if {\[catch {::opensees::plain_$name {*}\$arguments} result\]} { return -code error \$result }
      uplevel 1 \$body
      return \$result
    "
  }

  proc split_pattern {words} {
    switch -- [lindex $words 0] {
      Plain {
        set rest [lrange $words 3 end]
        while {[llength $rest] && [string match -nocase {-fact*} [lindex $rest 0]]} { set rest [lrange $rest 2 end] }
      }
      MultipleSupport - MultiSupport { set rest [lrange $words 2 end] }
      default { set rest [lrange $words 3 end] ; if {[lindex $words end] ne {}} { set rest {} } }
    }
    if {![llength $rest]} { return [list $words {}] }
    return [list [lrange $words 0 end-1] [lindex $words end]]
  }

  proc split_section {words} {
    variable fiber_sections
    set kind [string tolower [lindex $words 0]]
    set last [lindex $words end]
    foreach glob $fiber_sections {
      if {[string match $glob $kind] && [llength $words] > 2 && ![string is double -strict $last]
          && ![string match -* $last]} {
        return [list [lrange $words 0 end-1] $last]
      }
    }
    return [list $words {}]
  }
}

# recv stores the value in the caller's variable, as in OpenSeesMP.
proc ::opensees::make_recv {} {
  rename ::recv ::opensees::plain_recv
  proc ::recv args {
    upvar 1 [lindex $args end] variable
    set variable [::opensees::plain_recv {*}[lrange $args 0 end-1]]
    return {}
  }
}

# Python removes Tcl's own exit. This one unwinds Tcl, past any catch in the script, so that MPI is shut down properly.
proc ::opensees::make_exit {} {
  proc ::exit {{code 0}} {
    if {![string is integer -strict $code]} { return -code error "expected integer but got \"$code\"" }
    ::opensees::leave $code
    interp cancel -unwind
  }
  interp alias {} ::quit {} ::exit
}

# Files that the script has not closed may still hold buffered output.
proc ::opensees::flush_all {} {
  foreach channel [chan names] { catch { flush $channel } }
}

proc ::opensees::make_unknown {} {
  rename ::unknown ::opensees::tcl_unknown
  proc ::unknown {name args} {
    if {[auto_load $name [uplevel 1 {::namespace current}]]} { return [uplevel 1 [list $name {*}$args]] }
    return -code error "invalid command name \"$name\": neither Tcl nor OpenSees [::version] has such a command"
  }
}
