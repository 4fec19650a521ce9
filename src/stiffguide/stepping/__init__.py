"""What happens in a solve. Read `contracts` first: the records that everybody exchanges.

Then `tolerance`, `live` (what a row needs), `attempt` and `loop` (the only one), `controllers`
(error to dt), `output` (what is kept), `events` and `jumps` (what happens on the way),
`interpolate`. Tolerances, contracts and interpolants lie below the methods, the rest beside or
above them; no file here may import a method, and no method may import more than those.
"""
