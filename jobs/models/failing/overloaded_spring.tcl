# An elastic, perfectly plastic spring under a load that grows to twice its strength. Units: kN, m.
wipe
model BasicBuilder -ndm 1 -ndf 1
node 1 0.0
node 2 0.0
fix 1 1
uniaxialMaterial ElasticPP 1 1000.0 0.01
element zeroLength 1 1 2 -mat 1 -dir 1
timeSeries Linear 1
pattern Plain 1 1 { load 2 20.0 }
recorder Node -file displacement.out -time -node 2 -dof 1 disp
constraints Plain
numberer Plain
system BandGeneral
test NormUnbalance 1.0e-8 10
algorithm Newton
integrator LoadControl 0.1
analysis Static
