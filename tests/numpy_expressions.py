"""Expressions of t, y (6,), Y (2, 3), S (2, 2) and zeros Z (6,), D (2, 2): one a line."""

FOLLOWED = """
np.sum(Y, axis=0, keepdims=True)
np.sum(Y, axis=(0,1))
Y.sum(0)
Y.sum(axis=1, keepdims=True)
np.sum(y, where=y>0.5)
np.sum(y, initial=3.0)
np.mean(Y, axis=1)
np.average(y, weights=[1,2,3,4,5,6])
np.median(y[:3])
np.ptp(y)
np.var(Y, axis=0)
np.std(Y, axis=1, keepdims=True)
np.max(Y, axis=1)
np.min(Y, axis=0, initial=0.2)
np.argmax(y)
np.argsort(y[:3])
y[np.argsort(y[:3])]
np.sort(Y, axis=0)
np.cumsum(Y, axis=1)
np.cumsum(Y)
np.cumprod(y)
np.diff(Y, axis=1)
np.diff(y, n=2)
np.diff(y, prepend=0.0)
np.gradient(Y, 0.1, axis=0)
np.gradient(Y)[0]
np.gradient(y, np.arange(6.)**1.1)
np.gradient(y, edge_order=2)
np.cross(y[:3], y[3:])
np.dot(Y, Y.T)
np.dot(2.0, y)
Y @ Y.T
np.matmul(Y, y[:3])
np.inner(Y, Y)
np.outer(y, y)[0]
np.tensordot(Y, Y, axes=([0],[0]))
np.einsum("ij,kj->ik", Y, Y)
np.einsum("ij->j", Y)
np.einsum("i,i", y, y)
np.einsum(Y, [0,1], Y, [0,1])
np.kron(y[:2], y[:2])
np.vdot(Y, Y)
np.linalg.multi_dot([Y, Y.T, Y])
np.linalg.matrix_power(S, 3)
np.linalg.norm(Y)
np.linalg.norm(Y, axis=1)
np.linalg.norm(Y, 'fro')
np.linalg.norm(y, 3)
np.linalg.norm(y, 0)
np.linalg.inv(S)
np.linalg.det(S)
np.trace(S)
np.diag(y[:2])
np.diag(S)
np.diagonal(S)
np.tril(S, -1)
np.triu_indices(2)
S[np.triu_indices(2)]
S[np.ix_([0,1],[1,0])]
np.eye(2) * y[0]
np.identity(2) @ y[:2]
np.full(3, y[0])
np.full_like(y, y[1])
np.ones_like(Y) * y[0]
np.tile(y[:2], (2,2))
np.repeat(y, 2)
np.repeat(Y, [1,2], axis=0)
np.concatenate([Y, Y], axis=1)
np.concatenate([y, [1.0], (y[0],)])
np.concatenate((y, y), axis=None)
np.stack([y, y], axis=-1)
np.hstack([y[0], y[1:3], 2.0])
np.vstack((y, y))
np.dstack((Y, Y))
np.column_stack([y, y])
np.block([[S, S],[S, S]])
np.append(y, 1.0)
np.append(Y, [[1,2,3]], axis=0)
np.insert(y, 0, 5.0)
np.insert(y, 1, y[0])
np.delete(y, 2)
np.roll(Y, 1, axis=0)
np.roll(Y, (1, 1), axis=(0, 1))
np.flip(Y)
np.fliplr(Y)
Y[::-1]
np.rot90(Y)
np.moveaxis(Y, 0, 1)
np.swapaxes(Y, 0, 1)
np.transpose(Y)
Y.transpose(1, 0)
np.squeeze(Y[None])
np.expand_dims(y, 0)
y[:, None] * y
y[..., np.newaxis]
np.atleast_2d(y)
np.broadcast_to(y, (2, 6))
np.split(y, 3)[1]
np.array_split(y, 4)[0]
np.take(y, [0, 2])
np.take(Y, 1, axis=1)
y.take([1, 0])
np.choose([0, 1], [y[:2], y[2:4]])
np.compress([True, False, True], y[:3])
np.pad(y, (1, 2))
np.pad(y, 1, mode="wrap")
np.pad(y, 1, mode="reflect")
np.pad(y, 1, constant_values=y[0])
np.where(y > 0.5, y, -y)
np.where(y > 0.5)[0]
np.where([True, False], y[:2], 0)
y[np.nonzero(y > 0.5)]
y[y > 0.5].sum()
np.select([y > 0.5], [1.0], y)
np.piecewise(y, [y < 0.5], [0.0, lambda v: v**2])
np.clip(y, 0.2, None)
np.clip(y, None, y[0])
np.clip(y, a_min=0.3, a_max=0.6)
y.clip(min=0.4)
np.interp(y, [0, 1], [2, y[0]])
np.interp(t, [0, 1, 2], [5, 6, 7], period=2)
np.heaviside(y - 0.5, 0.5)
np.sign(y - 0.5)
np.round(y, 1)
np.around(y * 10)
y.round(2)
round(y[0], 1)
round(y[0] * 3)
np.floor(y * 7) % 2
np.fix(-y * 5)
np.mod(-y, 0.3)
np.remainder(y, -0.3)
np.divmod(y, 0.3)[0]
np.modf(y * 3)[1]
np.fmod(-y, 0.3)
-y // 0.3
y ** 2.5
y ** 3
y ** -1
y ** y
2 ** y
(-y) ** 3
np.float_power(y, 2)
np.sqrt(y), np.sqrt(y[0])
np.exp2(y)
np.cbrt(-y)
np.hypot(y, 1)
np.arctan2(y, -y[0])
np.degrees(y)
np.sinc(y)
np.i0(y)
np.convolve(y, y[:2])
np.convolve(y, [1, 2], "valid")
np.correlate(y, [1, 2, 3], "same")
np.polyval([1, y[0], 2], y[1])
np.polyval([1, 2], y)
np.poly1d([1, 2, 3])(y)
np.polynomial.Polynomial([1, 2, 3])(y[0])
np.polynomial.polynomial.polyval(y, [1, 2, 3])
np.polynomial.chebyshev.chebval(y, [1, 2, 3])
np.vander(y[:3])
np.logspace(0, 1, 3) * y[:3]
np.linspace(0, y[0], 4)
np.linspace(y[0], y[1], 3)
np.arange(3) * y[:3]
np.geomspace(1, 2, 3)
np.meshgrid(y[:2], y[:3])[0]
np.mgrid[0:2, 0:3][0] * Y
np.indices((2, 3))[1] * Y
np.r_[y[0], y[1:3], 4.0]
np.c_[y[:2], y[:2]]
np.r_[0:3, y]
np.nan_to_num(y)
np.isnan(y).any()
np.isfinite(y).all() * 1.0
np.isclose(y, 0.5, atol=0.1) * 1
np.allclose(y, y)
np.array_equal(y, y)
np.any(y > 0.9)
np.all(Y > 0.1, axis=1) * 1.0
np.logical_and(y > 0.2, y < 0.7) * 1
np.logical_not(y > 0.5) * 1
~(y > 0.5) * 1
((y > 0.2) & (y < 0.7)) * 1
((y > 0.2) ^ (y < 0.7)) * 1
((y > 0.2) | (y < 0.1)).sum()
(y > 0.5).astype(float)
(y > 0.5).astype(int) * 2
(y * 10).astype(int)
np.count_nonzero(y > 0.5)
np.prod(y > 0.01) + np.prod(y > 0.02)
np.var(y, ddof=1)
np.sum(y > 0.5)
np.mean(y > 0.5)
(y > 0.5).mean()
np.maximum(y, 0.5)
np.fmin(y, 0.5)
np.maximum.accumulate(y)
np.subtract.outer(y[:2], y[:3])
np.add.reduceat(y, [0, 2, 4])
np.multiply.reduce(Y, axis=None)
np.logaddexp.reduce(y)
np.minimum.reduce([y, y * 2])
np.add(y, 1, where=y > 0.5, out=np.zeros(6))
np.divide(1, y, out=np.zeros_like(y), where=y != 0)
np.copyto(Z, y) or Z
np.put(Z, [0, 1], y[:2]) or Z
np.fill_diagonal(D, y[0]) or D
np.place(Z, [True]*6, y[:2]) or Z
np.putmask(Z, y > 0.5, 1.0) or Z
np.add.at(Z, [0, 0, 1], y[:3]) or Z
np.apply_along_axis(lambda v: v.sum(), 1, Y)
np.apply_over_axes(np.sum, Y, 0)
np.vectorize(lambda a, b: a + b)(y, 1)
np.frompyfunc(lambda a: a * 2, 1, 1)(y)
np.fromiter((v for v in y), float)
np.array([*y, 1.0])
np.array([[y[0], y[1]], [y[2], 1]])
np.array([y[:2], y[2:4]])
np.array(y, copy=True)
np.array(y, ndmin=2)
np.asarray([y[0], 2])
np.asarray(y).dot(y)
np.asfortranarray(Y)
np.ascontiguousarray(y)
np.copy(y)
np.empty((0,)).sum() + y
np.zeros((2, 6)) + y
np.float64(y[0]) + np.float64(2)
np.float32(2.0) * y
np.int64(3) * y
np.bool_(True) * y
np.real(y) + np.imag(y)
np.abs(y - 0.5)
np.angle(y)
np.conj(y)
np.iscomplexobj(y) + y
np.isscalar(y[0]) + y
np.ndim(y) * y
np.size(y) * y
np.shape(Y)[1] * y
len(y) * y
y.size * y.ndim * y
y.T @ y
y.flatten().tolist()
y.ravel()[0]
Y.reshape(-1)
Y.reshape((3, 2))
Y.reshape(3, -1, order="F")
Y.flat[3]
list(Y.flat)[2]
y.item(2)
y[0].item()
y[0].real
Y.trace()
Y.swapaxes(0, 1)
y.repeat(2)
y.cumsum()
Y.max(axis=0)
y.argmax()
y.prod()
Y.mean(axis=0)
y.std()
y.dot([1, 2, 3, 4, 5, 6])
y.copy().sort() or y
y.nonzero()[0] * 1.0
y.any() * 1.0
np.searchsorted([0.2, 0.5, 0.8], y[0], side="right")
np.bincount([0, 1, 1], weights=y[:3])
np.ediff1d(y)
np.prod(Y, axis=0)
np.triu(Y)
np.lib.stride_tricks.sliding_window_view(y, 3).sum(axis=1)
math.exp(y[0]) + math.log(y[1], 2) + math.sqrt(y[2])
math.floor(y[0] * 10) + math.ceil(y[1] * 10) + math.trunc(y[2] * 10)
math.isclose(y[0], 0.5)
math.isnan(y[0]) * 1.0
math.fsum(y)
math.prod(y)
math.hypot(*y)
math.dist(y[:3], y[3:])
math.atan2(y[0], y[1]) + math.degrees(y[2])
math.modf(y[0] * 3)[0]
math.fmod(y[0], 0.3) + math.remainder(y[0], 0.3)
math.sinh(y[0]) + math.erf(y[1]) + math.erfc(y[2])
math.pow(2, y[0]) + math.copysign(2, -y[0])
math.cbrt(y[0]) if hasattr(math, "cbrt") else y
math.comb(4, 2) * y
scipy.special.expit(y) + scipy.special.logit(y)
scipy.special.xlogy(y, y) + scipy.special.xlog1py(y, y) + scipy.special.entr(y)
scipy.special.erf(y) + scipy.special.erfc(y) + scipy.special.ndtr(y) + scipy.special.exprel(y)
scipy.special.softmax(y)
scipy.special.logsumexp(y)
scipy.special.log1p(y) + scipy.special.cbrt(y)
scipy.integrate.trapezoid(y, dx=0.1)
scipy.integrate.simpson(y, dx=0.1)
scipy.integrate.cumulative_trapezoid(y, dx=0.1, initial=0)
scipy.linalg.norm(y)
scipy.linalg.solve(S, y[:2])
scipy.linalg.block_diag(S, S)
scipy.linalg.toeplitz(y[:3])
sum(y)
sum(y * 2, 1.0)
max(y), min(y), max(y[0], 0.5, y[1])
max(y, key=lambda v: -v)
max([y[0], y[1]], default=0)
abs(y[0] - 0.5), abs(y - 0.5)
pow(y[0], 2), pow(y, 2)
divmod(y[0], 0.3)
sorted(y[:3])
sorted(y[:3], reverse=True)[0]
list(map(abs, y))
list(zip(y, y[1:]))[0]
[a * b for a, b in it.product(y[:2], repeat=2)]
list(it.accumulate(y))
functools.reduce(operator.mul, y)
operator.add(y[0], 1)
list(reversed(y))
any(v > 0.9 for v in y) * 1.0
all(y > 0.01) * 1.0
int(y[0] * 10) + float(y[1])
bool(y[0] > 0.5) * 1.0
float(np.sum(y))
y[0] and y[1]
y[0] or y[1]
not y[0] > 0.5
0.1 < y[0] < 0.9
1.0 if y[0] in (0.5, 0.6) else 2.0
copy.deepcopy(list(y))[0]
deque(y)[0]
dict(a=y[0])["a"]
{k: v for k, v in enumerate(y)}[2]
y[-1] + y[-2:]
y[[0, -1]]
y[np.array([0, 2])]
y[np.array([True, False, True, False, True, False])]
Y[:, [0, 2]]
Y[1, ::2]
Y[(0, 1), (1, 2)]
y[slice(1, 3)]
(y > 0.5)[0] * 1.0
np.array([y > 0.5, y > 0.2]).sum(axis=0)
np.array([y[0] > 0.5, 0.3])
np.where(y > 0.5, True, False) + np.where(y > 0.2, True, False)
(y > 0.5) + (y > 0.2)
(y > 0.5) * (y > 0.2)
(y[0] > 0.5) + 1
(y[0] > 0.5) + (y[1] > 0.5)
(y[0] > 0.5) * 2.0 + (y[1] > 0.5) * 3
(y > 0.5) / 2
(y > 0.5) ** 2
np.sum([y[0] > 0.2, y[1] > 0.2])
sum([y[0] > 0.2, y[1] > 0.2])
sum(y > 0.2)
np.prod(y > 0.01)
np.max(y > 0.5) * 1.0
np.dot(y > 0.5, y)
(y > 0.5) @ y
np.cumsum(y > 0.2)
np.maximum(y > 0.5, y > 0.2) * 1.0
np.outer(y > 0.5, y > 0.2)[0] * 1.0
np.linalg.solve(S, Y)
np.trapezoid(Y, dx=0.1, axis=0) if hasattr(np, 'trapezoid') else np.trapz(Y, dx=0.1, axis=0)
"""

# in the order of the lines, what the refusal names
REFUSED = """
np.mean(y, where=y>0.5)
np.percentile(y, 50)
np.linalg.norm(Y, 2)
np.linalg.pinv(S)
np.linalg.slogdet(S)[1]
np.linalg.cholesky(S)
np.linalg.eigvalsh(S)
np.linalg.lstsq(S, y[:2], rcond=None)[0]
np.unwrap(y)
np.polyfit([0., 1., 2.], y[:3], 1)
np.searchsorted([0.2, 0.5, 0.8], y)
np.digitize(y, [0.2, 0.5, 0.8])
np.histogram(y, bins=[0, 0.5, 1])[0]
np.unique(y)
np.nansum(y)
math.gamma(y[0])
scipy.special.gamma(y)
scipy.linalg.expm(S)
"""
