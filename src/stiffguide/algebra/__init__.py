"""Linear and nonlinear systems of a batch: `dense` factorisations, and `newton` on top of them.

Neither knows of time, steps or methods; only `tensors` and `errors` may be imported.
"""
