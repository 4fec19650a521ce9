"""Parameter studies: one field for millions of rows, in shards, on the engines that people have.

Read `sweep` (what is asked), then `designs` (the parameters of any rows), `shard` (the solve of
some), `stores` (where they are kept), `engines` (who solves them), and `study` (what comes back).
It knows `solve` and what stands below.
"""
