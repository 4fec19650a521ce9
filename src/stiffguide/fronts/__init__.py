"""The interfaces of other libraries, translated to `solve`.

Read `scipy` (`solve_ivp`), then `arrays` (numpy's or torch's, as they came in) and `ode_solution`
(scipy's dense output). `solve` and all below it may be imported, `adapters` not.
"""
