"""Parameters of a field from data: least squares over many starts in one batch.

Read `fit` (what is asked), then `model` (rows of parameters as residuals and their derivatives),
`levenberg_marquardt` and `uncertainty`. `parameters`, `experiments` and `starts` are what users
give, checked; `fitted` is what comes back. It knows `solve` and what stands below.
"""
