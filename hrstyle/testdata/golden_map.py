#!/usr/bin/env python3
"""Writes golden_map.safetensors: a weight map of three knots on the inputs of golden_32x32.safetensors, by PyTorch in float64.

golden_map.py PEER    where PEER is the reference implementation, peer.py

It has the parameters that a weight map has besides HRNet's, all of them moved off their initial values; the gradient of the
logarithm of the total loss with respect to every parameter and to t, at the ratio of step 0; and the losses of 21 steps.
"""
import importlib.util, math, os, sys
import numpy as np, torch, torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
FROM, TO, KNOTS, STEPS, RATE = 0.8, 8000, 3, 20, 2e-3

spec = importlib.util.spec_from_file_location("peer", sys.argv[1])
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
given = {k: v.double() for k, v in load_file(os.path.join(HERE, "golden_32x32.safetensors")).items()}
part = lambda prefix: {k[len(prefix):]: v for k, v in given.items() if k.startswith(prefix)}
vgg, params = part("vgg."), part("hrnet.")

norms = [k[:-len(".weight")] for k in peer.hrnet_params() if k.count(".") == 2 and k.endswith(".weight")]
g = torch.Generator().manual_seed(5)
noise = lambda *shape: (0.1 * torch.randn(*shape, generator=g)).float().double()
for name in norms:
    n = params[name + ".weight"].shape[0]
    params[name + ".scale"], params[name + ".shift"] = 1 + noise(n), noise(n)
params["gate"] = noise(1) - 1
conditioned = ["8_1.weight", "8_1.bias"] + [f"{n}.{p}" for n in norms for p in ("scale", "shift")] + ["gate"]
for j in range(KNOTS):
    for name in conditioned:
        params[f"knots.{j}.{name}"] = noise(*params[name].shape)
params = {k: v.float().double().requires_grad_(True) for k, v in params.items()}

span = math.log10(TO / FROM)
ends = torch.linspace(math.log10(FROM), math.log10(TO), KNOTS, dtype=torch.float64)


def generate(t):
    """The output at t, with PyTorch's own scale and shift in every instance norm, in the order in which peer.py takes them."""
    hats = (1 - (t - ends).abs() / (span / (KNOTS - 1))).clamp(min=0)
    at = dict(params)
    for name in conditioned:
        at[name] = params[name] + sum(hats[j] * params[f"knots.{j}.{name}"] for j in range(KNOTS))
    order, plain = iter(norms), F.instance_norm

    def affine(y, eps):
        name = next(order)
        return plain(y, weight=at[name + ".scale"], bias=at[name + ".shift"], eps=eps)
    F.instance_norm = affine
    try:
        net = peer.hrnet(given["content"], at)
    finally:
        F.instance_norm = plain
    return torch.lerp(net, given["content"], torch.sigmoid(at["gate"]))


with torch.no_grad():
    target = peer.features(given["content"], vgg)[peer.CONTENT]
    grams = {n: peer.gram(f) for n, f in peer.features(given["style"], vgg).items() if n in peer.STYLE}


def losses(t):
    content, style = peer.losses(peer.features(generate(t), vgg), target, grams)
    return 10 ** t.detach() * content + style, content, style


def drawn(n):
    u = math.fmod(0.5 + (math.sqrt(5) - 1) / 2 * n, 1)
    u = float(np.clip(1.12 * u - 0.06, 0, 1)) ** 1.15
    return torch.tensor(math.log10(FROM) + u * span, dtype=torch.float64, requires_grad=True)


file = {k: v.detach().clone() for k, v in params.items() if k not in part("hrnet.")}
t = drawn(0)
names = list(params)
gradients = torch.autograd.grad(torch.log(losses(t)[0]), [params[k] for k in names] + [t])
file |= {"grad." + k: v for k, v in zip(names + ["t"], gradients)}
optimiser = torch.optim.Adam(params.values(), lr=RATE)
curve = []
for n in range(STEPS + 1):
    optimiser.param_groups[0]["lr"] = RATE * (1 - n / STEPS)
    optimiser.zero_grad()
    total, content, style = losses(drawn(n))
    torch.log(total).backward()
    curve.append([total.item(), content.item(), style.item()])
    optimiser.step()
file["curve"] = torch.tensor(curve, dtype=torch.float64)
save_file({k: v.detach().float().contiguous() for k, v in file.items()}, os.path.join(HERE, "golden_map.safetensors"))
print(curve[0], curve[-1])
