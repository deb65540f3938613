"""Train the demo model on the CPU.

    python demo/train.py --data FOLDER --checkpoint shapes_seg.pt --minutes 60

Stops when the process has used `--minutes` of CPU time. The checkpoint is written every few
minutes; started again with it, training goes on where it stopped.
"""
from __future__ import annotations

import argparse
import copy
import math
import time
from collections import Counter
from pathlib import Path

import torch

from batches import Batch, BatchSource
from losses import segmentation_loss
from network import Segmenter

_BATCH_SIZE = 16
_PEAK_RATE = 4e-3
_FINAL_SHARE = 0.02
_WARM_UP_STEPS = 300
_EMA_DECAY = 0.999
_LOG_STEPS = 100
_SAVE_STEPS = 500


class Trainer:
    """Network, its moving average, optimiser and progress; what a checkpoint holds."""

    def __init__(self, minutes: float) -> None:
        self.network = Segmenter().to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = _optimiser(self.network)
        self.budget_secs = minutes * 60
        self.used_secs = 0.0
        self.step = 0

    @property
    def progress(self) -> float:
        """Give the used share of the budget, 0..1."""
        return min(1.0, self.used_secs / self.budget_secs)

    def learning_rate(self) -> float:
        """Give a linear warm-up, then half a cosine down to `_FINAL_SHARE` of the peak."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        warm_up = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        return _PEAK_RATE * warm_up * (cosine * (1 - _FINAL_SHARE) + _FINAL_SHARE)

    def train_on(self, batch: Batch) -> dict[str, float]:
        """Make one optimiser step; give the loss terms."""
        for group in self.optimiser.param_groups:
            group['lr'] = self.learning_rate()
        self.network.train()
        with torch.autocast('cpu', torch.bfloat16):
            heads = self.network(batch.pictures)
        terms = segmentation_loss(heads, batch)
        self.optimiser.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return {name: float(term.detach()) for name, term in terms.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = 1 - _EMA_DECAY * (1 - math.exp(-self.step / 400))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values())
        for mean, value in pairs:
            if mean.dtype.is_floating_point:
                mean.lerp_(value, weight)
            else:
                mean.copy_(value)

    def save(self, path: Path) -> None:
        """Write the checkpoint; a kill in between leaves the old one."""
        state = {'network': self.network.state_dict(), 'average': self.average.state_dict(),
                 'optimiser': self.optimiser.state_dict(), 'step': self.step,
                 'used_secs': self.used_secs}
        torch.save(state, path.with_suffix('.part'))
        path.with_suffix('.part').replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state['network'])
        self.average.load_state_dict(state['average'])
        self.optimiser.load_state_dict(state['optimiser'])
        self.step, self.used_secs = state['step'], state['used_secs']


def _optimiser(network: Segmenter) -> torch.optim.Optimizer:
    """Decay the convolution weights only, not biases and normalisation."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{'params': weights, 'weight_decay': 0.02}, {'params': others, 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.99))


def _report(trainer: Trainer, sums: Counter) -> None:
    terms = '  '.join(f'{name} {value / _LOG_STEPS:.3f}' for name, value in sums.items())
    print(f'step {trainer.step}  {trainer.used_secs / 60:.1f} of '
          f'{trainer.budget_secs / 60:.0f} CPU min  rate {trainer.learning_rate():.5f}  {terms}',
          flush=True)


def train(trainer: Trainer, source: BatchSource, checkpoint: Path) -> None:
    """Run until the CPU budget is used up."""
    earlier, start, sums = trainer.used_secs, time.process_time(), Counter()
    while trainer.progress < 1:
        sums.update(trainer.train_on(source.next()))
        trainer.used_secs = earlier + time.process_time() - start
        if trainer.step % _LOG_STEPS == 0:
            _report(trainer, sums)
            sums.clear()
        if trainer.step % _SAVE_STEPS == 0:
            trainer.save(checkpoint)
    trainer.save(checkpoint)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--checkpoint', type=Path, required=True)
    parser.add_argument('--minutes', type=float, default=60.0, help='CPU time budget')
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    trainer = Trainer(options.minutes)
    if options.checkpoint.exists():
        trainer.load(options.checkpoint)
    source = BatchSource(options.data, _BATCH_SIZE, seed=trainer.step)
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(f'{parameters} parameters, {len(source)} pictures, from step {trainer.step}', flush=True)
    train(trainer, source, options.checkpoint)


if __name__ == '__main__':
    main()
