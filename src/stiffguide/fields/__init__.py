"""The user's f as solvers see it.

Read `layout` (states of any nesting as rows of features), `parts` (complex numbers in them as real
ones), `array_function` (f of numpy arrays), `flat` (f on such rows), `jacobian` (its derivatives),
`differences` (the same from values alone), `recording` (what autograd sees of f); then `checks`,
what solvers take for granted about f (`independence` of its rows, and `slopes`), and `verdicts`,
which remembers what passed. May import `stepping.contracts`, whose `Field` they fulfil, and nothing
that steps.
"""
