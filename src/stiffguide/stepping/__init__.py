"""What happens in a solve. Read `contracts` first: the records that everybody exchanges.

Then `loop` (one attempt in every row, and the only loop), `controllers` (error to dt), `output`
(what is kept), `interpolate`, `initial_dt`. `contracts` and `interpolate` lie below the methods,
the rest beside or above them; no file here may import a method, and no method one of these.
"""
