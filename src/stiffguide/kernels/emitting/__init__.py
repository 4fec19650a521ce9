"""A traced field and a method as text.

Read `cpp` (the translation unit), then `coefficients` (a method as numbers), `steps`,
`elimination`, `expressions`, `parameters`; `cuda` is the same text for a GPU. A field of
many unknowns alone is `loops`, and the steps of its solve are `march`. Nothing here builds or runs.
"""
