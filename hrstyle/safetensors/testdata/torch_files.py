"""Writes the .pth files that the tests read, with PyTorch 2: a state dict of every type read, in both formats."""
import collections
import torch

base = torch.arange(12, dtype=torch.float32)
state = collections.OrderedDict(
    [
        ("features.0.weight", torch.nn.Parameter((base / 8 - 0.5).reshape(2, 3, 2))),
        ("view", base[4:10].reshape(2, 3)),  # in the middle of a storage
        ("half", torch.tensor([1.5, -2.0], dtype=torch.float16)),
        ("bfloat", torch.tensor([1.5], dtype=torch.bfloat16)),
        ("long", torch.tensor([7])),
    ]
)
torch.save(state, "zip.pth")
torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
state["turned"] = base.reshape(3, 4).T
torch.save(state, "turned.pth")
torch.save(torch.nn.Linear(1, 1), "module.pth")
