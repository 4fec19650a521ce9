"""Operations of torch on values (n,), one a line, and statements that write to them.

New ones go to the end: kept choices count lines.
"""

# x, z: earlier values (n,); v, w, m: numbers; i: indices; k, c: whole and other numbers
OPERATIONS = """
torch.sin({x})
{x} * {z}
{x} + {z}
{x} - {c} * {z}
{x} / (2 + {z}**2)
torch.cos({x}) * {z}
torch.exp(-({x}**2))
torch.tanh({x}) + {z}
torch.sigmoid({x})
torch.abs({x})
torch.sign({x}) * {z}
torch.floor({x}) * {z}
torch.ceil({x}) + {z}
torch.round({x}) * {c}
torch.trunc({x}) + {z}
torch.frac({x})
torch.sqrt(torch.abs({x}))
torch.rsqrt(1 + {x}**2)
torch.log1p(torch.abs({x}))
torch.expm1(torch.tanh({x}))
torch.atan({x})
torch.asinh({x})
torch.acosh(1 + {x}**2)
torch.atanh(0.9 * torch.tanh({x}))
torch.asin(torch.tanh({x}))
torch.acos(0.5 * torch.tanh({x}))
torch.erf({x})
torch.erfc({x})
torch.sinc({x})
torch.square({x})
torch.reciprocal(1 + {x}**2)
torch.sinh(torch.tanh({x}))
torch.cosh(torch.tanh({x}))
torch.tan(torch.tanh({x}))
torch.log2(1 + {x}**2)
torch.log10(1 + {x}**2)
torch.exp2(torch.tanh({x}))
torch.deg2rad({x})
torch.logit(torch.sigmoid({x}))
torch.lgamma(2 + torch.abs({x}))
torch.nan_to_num({x})
torch.isfinite({x}).to({x}.dtype) * {z}
torch.relu({x} - {c})
F.gelu({x})
F.gelu({x}, approximate="tanh")
F.silu({x})
F.softplus({x}, beta=2.0)
F.elu({x}, 0.7)
F.selu({x})
F.celu({x}, 0.3)
F.mish({x})
F.hardswish({x})
F.hardsigmoid({x})
F.hardtanh({x}, -0.5, 0.7)
F.relu6({x})
F.leaky_relu({x}, 0.2)
F.logsigmoid({x})
F.softsign({x})
F.tanhshrink({x})
F.softshrink({x}, 0.3)
F.hardshrink({x}, 0.3)
F.threshold({x}, 0.1, 0.2)
F.softmax({x}, -1)
F.log_softmax({x}, -1)
F.softmin({x}, -1)
F.layer_norm({x}, {x}.shape[-1:])
F.normalize({x}, dim=-1)
F.glu(torch.cat(({x}, {z}), -1), -1)
F.huber_loss({x}, {z}, reduction="none")
F.mse_loss({x}, {z}, reduction="none")
F.smooth_l1_loss({x}, {z}, reduction="none")
F.cosine_similarity({x}, {z}, dim=-1).unsqueeze(-1) * {z}
F.linear({x}, {m})
{m} @ {x}
torch.einsum("ij,j->i", {m}, {x})
torch.einsum("i,j,ij->i", {x}, {z}, {m})
({x}.unsqueeze(-1) * {m}).sum(-2)
torch.tensordot({m}, {x}, 1)
torch.outer({x}, {z}).sum(-1)
torch.tril(torch.outer({x}, {z})).sum(-1)
torch.linalg.solve(3 * torch.eye({n}, dtype=torch.float64) + 0.1 * {m}, {x})
torch.linalg.det(torch.eye(2, dtype=torch.float64) + 0.1 * {x}[:1] * {z}[:1, None]) * {z}
torch.linalg.vector_norm({x}, {norm}) * {z}
{x} / (1 + {z}.norm())
torch.dist({x}, {z}) * {z}
torch.cdist({x}[:, None], {z}[:, None]).sum(-1)
{x}.cumsum(-1)
{x}.cumprod(-1)
{x}.logcumsumexp(-1)
{x}.cummax(-1)[0]
{x}.cummin(-1).values
{x} - {x}.mean(-1, keepdim=True)
{x} + {z}.sum()
{x} * torch.tanh({z}.prod())
{x} - {x}.amax()
{x} - {x}.amin(-1, keepdim=True)
{x} * {z}.var(unbiased=False)
{x} / (1 + {z}.std(unbiased=False))
{x} - {z}.logsumexp(-1)
{x} - {x}.median()
{x}.sort(-1)[0]
{x}.sort(-1, descending=True).values
{x}.topk(1).values * {z}
{x}[{x}.argsort()]
{x} * {z}.argmax()
torch.nansum({x}) * {z}
torch.count_nonzero({x} > 0) * {z}
{x} ** 2 - {z} ** 3
torch.tanh({x}) ** {k}
torch.abs({x}) ** {c}
torch.pow(1.7, torch.tanh({x}))
torch.float_power(torch.abs({x}), 1.5)
(1 + torch.abs({x})) ** torch.tanh({z})
torch.maximum({x}, {z})
torch.minimum({x}, {v})
torch.fmax({x}, {v})
torch.atan2({x} + 0.3, {z})
torch.hypot({x}, {z})
torch.fmod({x}, {c})
torch.remainder({x}, {c})
{x} % {v}
{x} // {c}
torch.div({x}, {c}, rounding_mode="trunc")
torch.div({x}, {v}, rounding_mode="floor")
torch.copysign({x}, {z} + 0.3)
torch.heaviside({x}, {v})
torch.lerp({x}, {z}, {c})
torch.clamp({x}, -0.4, 0.6)
torch.clamp({x}, min={v})
torch.clamp({x}, {v}, {v} - 1)
torch.addcmul({x}, {z}, {v}, value=0.7)
torch.addcdiv({x}, {z}, 1 + {x}**2)
torch.xlogy(torch.abs({x}), 1 + {z}**2)
torch.logaddexp({x}, {z})
torch.logaddexp2({x}, {z})
torch.ldexp({x}, torch.tensor(2))
torch.rsub({x}, {z}, alpha=2)
torch.special.expit({x})
torch.special.entr(torch.abs({x}))
torch.special.ndtr({x})
torch.special.log_ndtr({x})
torch.special.xlog1py({x}, torch.abs({z}))
torch.where({x} > {c}, {x} * {x}, -{z})
torch.where(({x} > {z}) & ({x} < 1), {x}, 2 * {z})
torch.where(({x} >= {c}) | ({z} <= -1), torch.sin({x}), {z})
torch.where({x} > 0, torch.log(torch.abs({x})), {z})
torch.where(torch.isclose({x}, {z}), {x}, -{z})
torch.where({x}.any(), {x}, -{z})
torch.where(({x} > {c}).all(), {x}, -{z})
({x} > {z}) * {x}
({x} > {c}).sum() * {z}
{x}.masked_fill({x} > {c}, 0.25)
{x} * ({w} > 0.5)
{x} * torch.tensor({k}).float()
{x}.to(torch.float32).to(torch.float64) + {z}
{x}.int() * 0.1 + {z}
({x} * 3).long() // 2 * {z}
({x} * 10).to(torch.int32) % 3 * {z}
torch.clamp({x} * 5, 0, 200).to(torch.uint8) * {z}
{x}.bool().logical_not() * 1.0 + {z}
{x}.roll({k}, -1)
{x}.flip(-1)
{x}[{i}]
{x}[..., {i}] * {z}
{x}.index_select(0, {i})
{x}.gather(0, {i})
{x}.take_along_dim({i}, 0)
torch.zeros_like({x}).index_add(0, {i}, {z})
torch.zeros_like({x}).scatter_add(0, {i}, {x})
{x}.scatter(0, {i}[:1], 0.5)
{x}.scatter_reduce(0, {i}, {z}, "amax")
{x}.scatter_reduce(0, {i}, {z}, "mean")
{x}.index_copy(0, {i}[:1], {z}[:1])
{x}.index_fill(0, {i}[:1], 0.7)
{x}.index_put(({i},), {z}, accumulate=True)
torch.cat(({x}[1:], {z}[:1]))
torch.stack([{c} * a for a in {x}.unbind(-1)], -1)
torch.stack(({x}, {z}), -1).flatten()[: {n}]
F.pad({x}[1:], (0, 1)) + F.pad({z}[:-1], (1, 0)) - 2 * {x}
F.pad(torch.diff({x}), (0, 1), value=0.3)
F.conv1d({x}[None, None], {w3}, padding=1)[0, 0]
F.conv1d(F.pad({x}[None, None], (1, 1), "replicate"), {w3})[0, 0]
F.avg_pool1d({x}[None, None], 3, 1, 1)[0, 0]
F.max_pool1d({x}[None, None], 3, 1, 1)[0, 0]
{x}.repeat_interleave(2)[::2] + {z}.repeat(2)[{n} :]
{x}.unfold(-1, 1, 1).sum(-1)
{x}.diag_embed().sum(-2) * {z}
{x}.expand(2, {n}).mean(0)
{x}.reshape(-1, 1).mT[0]
torch.trapezoid({x}, dim=-1) * {z}
torch.cumulative_trapezoid({x}, dim=-1).sum() + {z}
torch.vmap(lambda a: torch.sin(a) * {c})({x})
torch.func.grad(lambda a: (torch.sin(a) * a).sum() + a.prod())({x})
torch.func.jvp(torch.sin, ({x},), ({z},))[1]
{table}[torch.bucketize({x}, {edges})] * {z}
{table}[(torch.abs({x}) * 2).long().clamp(0, 4)]
torch.searchsorted({edges}, {x}) * {z}
torch.full_like({x}, 0.3) * {z} + torch.arange({n})
torch.linspace(0, 1, {n}, dtype=torch.float64) * {x}
torch.complex({x}, {z}).abs()
(torch.complex({x}, {z}) ** 2).imag
torch.fft.rfft({x}).abs().sum() * {z}
torch.einsum("i,i->", {x}, {z}) * {z}
torch.bmm({x}[:, None, None], {z}[:, None, None]).flatten()
F.scaled_dot_product_attention({x}[None, :, None], {x}[None, :, None], {z}[None, :, None])[0, :, 0]
torch.nn.functional.one_hot({i}, {n}).to(torch.float64).sum(0) * {x}
torch.kron(torch.ones(1, dtype=torch.float64), {x})
torch.aminmax({x})[1] * {z}
torch.cross({x}[[0, 0, -1]], {z}[[-1, 0, 0]], dim=0).sum() + {z}
""".strip().splitlines()
STATEMENTS = """
{o} = {x}.clone(); {o}[0] = {z}[-1] * 2
{o} = torch.empty_like({x}); {o}[:{cut}] = {z}[-{cut}:]; {o}[{cut}:] = {x}[{cut}:] ** 2
{o} = {x} * 1; {o} += {c}; {o} *= {z}
{o} = {x}.clone(); {o}.view(-1)[::2] *= 0.5
{o} = {x}.clone(); {o}[{i}] = {z}
{o} = {x}.clone(); {o}.sub_(0.3).clamp_(-2, 2).abs_()
{o} = torch.zeros_like({x}); {o}[-1] = {x}.sum(); {o}[0] += {z}[0]
{o} = {x}.clone(); {o}[0], {o}[-1] = {z}[-1], {z}[0]
{o} = {x} * {z}; {o}[{o} > {c}] = 0.5
{o} = {x}.clone(); v = {o}[:2]; v.mul_(3); v.add_({c})
{o} = torch.empty_like({x}); torch.mul({x}, {z}, out={o})
""".strip().splitlines()
