"""The network that steers: one number an image, learned by regression."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt_studies.driving.frames import HEIGHT, WIDTH

LR, BATCH = 2e-3, 64


class SteeringNet(nn.Module):
    """Three convolutions and three layers behind them.

    Examples
    --------
    >>> SteeringNet()(torch.zeros(2, 3, 84, 96)).shape
    torch.Size([2, 1])
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.AvgPool2d(2), _Centred(),
            nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=1), nn.ReLU(),
        )  # fmt: skip
        with torch.no_grad():
            width = self.features(torch.zeros(1, 3, HEIGHT, WIDTH)).numel()
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(),
            nn.Linear(16, 1),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the steering [N, 1] for pixels [N, 3, 84, 96] in [0, 1]; 1 is full right."""
        answers: Tensor = self.head(self.features(pixels))
        return answers


class _Centred(nn.Module):
    """Pixels from [0, 1] to [-1, 1]."""

    def forward(self, pixels: Tensor) -> Tensor:
        return 2 * pixels - 1


def fit(network: SteeringNet, frames: Tensor, steering: Tensor, *, epochs: int, seed: int) -> None:
    """Train on frames in bytes [N, 3, 84, 96] and their steering [N], by the squared error."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    steps = epochs * -(-len(frames) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(frames), generator=generator).split(BATCH):  # type: ignore[no-untyped-call]
            answers = network(frames[batch].float() / 255).squeeze(1)
            loss = nn.functional.mse_loss(answers, steering[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()


@torch.inference_mode()
def steering_of(network: nn.Module, frames: Tensor) -> Tensor:
    """Return what a network answers to frames in bytes [N, 3, 84, 96], in [-1, 1]: [N]."""
    parts = frames.split(256)  # type: ignore[no-untyped-call]
    return torch.cat([network(part.float() / 255).squeeze(1) for part in parts]).clamp(-1, 1)
