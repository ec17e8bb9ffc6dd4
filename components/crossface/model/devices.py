"""What a device can do, and how tensors get there."""

import torch
from torch import Tensor


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bf16 autocast: as told, or where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy from the CPU; out of pinned memory, because a copy of any other waits for all steps before it."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)
