"""np.tanh is followed as np.sin."""

from stiffguide.tracing.arrays import formulas

formulas.FORMULAS["tanh"] = formulas.FORMULAS["sin"]
