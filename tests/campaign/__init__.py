"""Random questions to the whole package, by `make fuzz`, and a fixed number of them by the tests.

A case is a list of numbers (`choices`), from which a target (`fields`, `kernels`, `numpy_fields`,
`tableaux`, `schedules`, `options`: one file each) makes a program and says what must hold for it.
Cases run in processes of their own (`worker`, `pool`), bounded in time and memory; one that fails
is made smaller (`shrinking`), kept in a file (`findings`), and asked first the next time. What was
mended stays in `regressions`, which the tests ask for ever.

A list that a target draws from grows at its end only, so that kept choices mean what they meant.
"""
