"""OpenSees' Tcl as people write it, on the real engine, against closed forms and Newmark's method written out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.packer.conftest import RunCommand

CANTILEVER = """
model BasicBuilder -ndm 2 -ndf 3
node 1 0.0 0.0
node 2 0.0 100.0 -mass 2.0 0.0 0.0
fix 1 1 1 1
uniaxialMaterial Elastic 1 1000.0
section Elastic 1 1000.0 10.0 50.0
section Fiber 2 {
    # fibres by a loop, as scripts do it
    foreach y {-2.0 2.0} {
        fiber $y 0.0 [expr 50.0/8.0] 1
    }
}
geomTransf Linear 1
"""
STATIC = """
constraints Plain
numberer RCM
system BandGeneral
test NormDispIncr 1.0e-10 20 0
algorithm Newton
integrator LoadControl 1.0
analysis Static
if {[analyze 1] != 0} { error "no convergence" }
"""
LOAD = "pattern Plain 1 Linear { load 2 1.5 0.0 0.0 }\n"
BENDING = 1.5 * 100.0**3 / (3 * 1000.0 * 50.0)


def run_script(tmp_path: Path, run_command: RunCommand, script: str, ranks: int = 0) -> list[str]:
    """Run a script that has to succeed, and return its output."""
    (tmp_path / "main.tcl").write_text(script)
    ended = run_command(*(("openseesmp", str(ranks)) if ranks else ("opensees",)), "main.tcl")
    assert ended.exit_code == 0, ended
    return ended.output.splitlines()


@pytest.mark.parametrize(
    "beam",
    [
        "element elasticBeamColumn 1 1 2 10.0 1000.0 50.0 1",
        "element nonlinearBeamColumn 1 1 2 5 1 1",
        "element forceBeamColumn 1 1 2 5 1 1",
        "element forceBeamColumn 1 1 2 5 2 1 -iter 10 1e-12",
        "element forceBeamColumn 1 1 2 1 {Lobatto 1 5}",
        "element forceBeamColumn 1 1 2 5 -sections 1 2 1 2 1 1",
        "element forceBeamColumn 1 1 2 5 1 1 -integration Legendre",
        "element dispBeamColumn 1 1 2 5 1 1",
        "element dispBeamColumn 1 1 2 3 -sections 2 1 2 1",
        "beamIntegration Lobatto 1 2 4; element forceBeamColumn 1 1 2 1 1",
        "element beamWithHinges 1 1 2 1 10.0 1 10.0 1000.0 10.0 50.0 1",
    ],
)
def test_every_way_to_write_a_beam(beam: str, tmp_path: Path, run_command: RunCommand) -> None:
    script = f"{CANTILEVER}{beam}\n{LOAD}{STATIC}puts [nodeDisp 2 1]"
    [value] = run_script(tmp_path, run_command, script)
    assert float(value) == pytest.approx(BENDING, rel=1e-9)


@pytest.mark.parametrize(
    ("pattern", "factor"),
    [
        ("pattern Plain 1 Linear { load 2 1.5 0.0 0.0 }", 1.0),
        ('pattern Plain 1 "Linear -factor 2.0" {\n load 2 1.5 0.0 0.0\n}', 2.0),
        ("pattern Plain 1 Constant { load 2 1.5 0.0 0.0 }", 1.0),
        ("timeSeries Linear 5; pattern Plain 1 5 { load 2 1.5 0.0 0.0 }", 1.0),
        ("timeSeries Linear 5; pattern Plain 1 5 -fact 3.0 { load 2 1.5 0.0 0.0 }", 3.0),
        ("timeSeries Linear 5; pattern Plain 1 5; load 2 1.5 0.0 0.0", 1.0),
        ("pattern Plain 1 {Series -dt 1.0 -values {0.0 4.0 0.0}} { load 2 1.5 0.0 0.0 }", 4.0),
        ("pattern Plain 1 {Series -dt 1.0 -filePath {the values.txt}} { load 2 1.5 0.0 0.0 }", 5.0),
        ("timeSeries Path 5 -time {0 2} -values {0 2}; pattern Plain 1 5 { load 2 1.5 0 0 }", 1.0),
        ("proc push {tag} { load $tag 1.5 0.0 0.0 }; pattern Plain 1 Linear { foreach t {2} { push $t } }", 1.0),
        ("set P 1.5; pattern Plain 1 Linear { eval load 2 $P [lrepeat 2 0.0] }", 1.0),
        ("pattern Plain 1 Linear {}; pattern Plain 2 Linear {load 2 1.5 0.0 0.0}", 1.0),
        ("pattern Plain 1 Linear { eleLoad -ele 1 -type -beamUniform [expr -4*1.5/150] }", 1.0),
    ],
)
def test_every_way_to_write_a_load(pattern: str, factor: float, tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "the values.txt").write_text("0.0 5.0\n5.0\n")
    beam = "element elasticBeamColumn 1 1 2 10.0 1000.0 50.0 1"
    [value] = run_script(tmp_path, run_command, f"{CANTILEVER}{beam}\n{pattern}\n{STATIC}puts [nodeDisp 2 1]")
    if "eleLoad" in pattern:
        factor = -4 * 1.5 / 150 * -(100.0**4) / (8 * 1000.0 * 50.0) / BENDING
    assert float(value) == pytest.approx(factor * BENDING, rel=1e-9)


def newmark_response(acceleration: list[float], dt_s: float, omega: float) -> list[float]:
    """Return the relative displacement of an undamped mass, by average acceleration; OpenSees begins at rest without solving at 0."""
    u = v = a = 0.0
    found = []
    for ground in acceleration[1:]:
        predicted = u + dt_s * v + dt_s**2 / 4 * a
        new = (-ground - omega**2 * predicted) / (1 + omega**2 * dt_s**2 / 4)
        u, v, a = predicted + dt_s**2 / 4 * new, v + dt_s / 2 * (a + new), new
        found.append(u)
    return found


@pytest.mark.parametrize(
    "excitation",
    [
        "pattern UniformExcitation 1 1 -accel {Series -dt 0.02 -filePath record.txt -factor 9.81}",
        'set s "Series -dt 0.02 -filePath record.txt -factor 9.81"; pattern UniformExcitation 1 1 -accel $s',
        "timeSeries Path 3 -dt 0.02 -filePath record.txt -factor 9.81; pattern UniformExcitation 1 1 -accel 3",
        "timeSeries Path 3 -dt 0.02 -values $values -factor 9.81; pattern UniformExcitation 1 1 -accel 3 {}",
    ],
)
def test_every_way_to_write_an_earthquake(excitation: str, tmp_path: Path, run_command: RunCommand) -> None:
    record = [0.3 * math.sin(0.37 * n) * math.exp(-0.02 * n) for n in range(60)]
    (tmp_path / "record.txt").write_text("\n".join(map(repr, record)))
    script = f"""
        model basic -ndm 1 -ndf 1
        node 1 0; node 2 0
        fix 1 1
        mass 2 2.0
        uniaxialMaterial Elastic 1 500.0
        element zeroLength 1 1 2 -mat 1 -dir 1
        set values [list {" ".join(map(repr, record))}]
        {excitation}
        recorder Node -file disp.out -time -node 2 -dof 1 disp
        recorder Node -file precise.out -precision 14 -node 2 -dof 1 disp
        constraints Plain; numberer Plain; system ProfileSPD; test NormUnbalance 1e-10 10
        algorithm Linear; integrator Newmark 0.5 0.25; analysis Transient
        set ok [analyze 58 0.02]
        puts "$ok [getTime]"
    """
    [line] = run_script(tmp_path, run_command, script)
    assert line.split()[0] == "0"
    found = [float(value) for value in (tmp_path / "precise.out").read_text().split()]
    # The time of the last point is reached with a rounding error, and after its end a path is zero in OpenSees.
    wanted = newmark_response([9.81 * value for value in record[:-1]], 0.02, math.sqrt(250.0))
    assert found == pytest.approx(wanted, rel=1e-8, abs=1e-10)


def test_results_of_commands_can_be_used_in_expressions(tmp_path: Path, run_command: RunCommand) -> None:
    script = f"""{CANTILEVER}
        element elasticBeamColumn 1 1 2 10.0 1000.0 50.0 1
        set lambda [lindex [eigen -fullGenLapack 1] 0]
        puts [expr {{sqrt($lambda)}}]
        {LOAD}{STATIC}
        reactions
        puts [format %.6f [expr [nodeReaction 1 1] + 1.0]]
        puts [llength [nodeDisp 2]]
        puts [lindex [eleResponse 1 force] 0]
        puts [lsort -integer [getNodeTags]]
        puts "[getTime] [nodeCoord 2 2] [getNDM]"
        loadConst -time 0.0
        puts [getTime]
        remove loadPattern 1
        puts [catch {{element truss 9 1 99 1.0 1}} message]
        puts $message
        wipe
        puts [llength [getNodeTags]]
    """
    lines = run_script(tmp_path, run_command, script)
    assert float(lines[0]) == pytest.approx(math.sqrt(3 * 1000.0 * 50.0 / 100.0**3 / 2.0))
    assert lines[1] == "-0.500000"
    assert lines[2] == "3"
    assert float(lines[3]) == pytest.approx(-1.5)
    assert lines[4:7] == ["1 2", "1.0 100.0 2", "0.0"]
    assert lines[7:] == ["1", "element: the command failed; OpenSees printed the reason above", "0"]


def test_a_failed_analysis_returns_a_code_and_the_script_continues(tmp_path: Path, run_command: RunCommand) -> None:
    script = """
        model basic -ndm 1 -ndf 1
        node 1 0; node 2 1
        fix 1 1
        uniaxialMaterial ElasticPP 1 1000.0 0.001
        element truss 1 1 2 1.0 1
        pattern Plain 1 Linear { load 2 1.0 }
        constraints Plain; numberer Plain; system ProfileSPD; test NormDispIncr 1e-12 5 0
        algorithm Newton; integrator LoadControl 2.0; analysis Static
        set ok [analyze 1]
        puts [expr {$ok < 0}]
        algorithm ModifiedNewton -initial
        puts [expr {[analyze 1] < 0}]
    """
    assert run_script(tmp_path, run_command, script) == ["1", "1"]


def test_files_in_folders_with_spaces(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "sub folder").mkdir()
    (tmp_path / "sub folder" / "parts.tcl").write_text('source "sub folder/more.tcl"; set parts 1')
    (tmp_path / "sub folder" / "more.tcl").write_text("proc twice {x} { expr {2 * $x} }")
    script = f"""
        source "sub folder/parts.tcl"
        puts "[twice 3] $parts"
        {CANTILEVER}
        element elasticBeamColumn 1 1 2 10.0 1000.0 50.0 1
        file mkdir "out put"
        recorder Node -file "out put/disp 1.out" -node 2 -dof 1 disp
        {LOAD}{STATIC}
        print -file "out put/node.txt" -node 2
        print -JSON -file model.json
        wipe
    """
    assert run_script(tmp_path, run_command, script) == ["6 1"]
    assert float((tmp_path / "out put" / "disp 1.out").read_text()) == pytest.approx(BENDING, rel=1e-5)
    assert "Node: 2" in (tmp_path / "out put" / "node.txt").read_text()
    assert "StructuralAnalysisModel" in (tmp_path / "model.json").read_text()


def test_ranks_send_and_receive(tmp_path: Path, run_command: RunCommand) -> None:
    script = """
        set me [getPID]
        set all [getNP]
        if {$me == 0} {
            for {set other 1} {$other < $all} {incr other} { send -pid $other [list $other 1.5 "two words"] }
            for {set other 1} {$other < $all} {incr other} {
                recv -pid $other answer
                puts $answer
            }
        } else {
            recv -pid 0 given
            send -pid 0 "from $me: [lindex $given 0] [lindex $given 2]"
        }
        barrier
    """
    assert run_script(tmp_path, run_command, script, ranks=3) == ["from 1: 1 two words", "from 2: 2 two words"]


def test_quadrilaterals_by_the_block(tmp_path: Path, run_command: RunCommand) -> None:
    script = """
        model basic -ndm 2 -ndf 2
        nDMaterial ElasticIsotropic 1 1000.0 0.25
        block2D 2 3 1 1 quad "1 PlaneStress 1" {
            1 0 0
            2 2 0
            3 2 3
            4 0 3
        }
        puts "[llength [getEleTags]] [llength [getNodeTags]]"
    """
    assert run_script(tmp_path, run_command, script) == ["6 12"]
