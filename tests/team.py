"""Trains a small recipe and writes what happened; run by tests/test_distributed.py, alone or by torchrun.

``python -m tests.team RECIPE.toml KIND EPOCHS FOLDER``: in FOLDER, RANK.json has the metrics and the loss of each step, RANK.pt
the parameters and the batch norms' averages. KIND is ``double`` (all is float64) or ``float``.
"""
import json
import os
import sys
import warnings
from pathlib import Path

import torch

from bnnhw.train import distributed, models, recipe
from bnnhw.train.loop import Trainer

from . import training


def main(file, kind, epochs, folder):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if kind == "double":
        torch.set_default_dtype(torch.float64)
    chosen = recipe.load(file, epochs=int(epochs))
    split = training.split(61, 1, (6, 6, 1) if chosen.kind != "mlp" else (5, 4, 2))
    team = distributed.joined("cpu", chosen)
    trainer = Trainer(models.build(chosen, split), chosen, split, team)
    original, losses = trainer._loss, []

    def loss(*given):
        found = original(*given)
        losses.append([found.item(), len(given[1])])
        return found
    trainer._loss = loss
    rows = [trainer.run_epoch() for _ in range(chosen.epochs)]
    Path(folder, f"{team.rank}.json").write_text(json.dumps({"rows": rows, "losses": losses, "size": team.size}))
    torch.save(trainer.model.state_dict(), Path(folder, f"{team.rank}.pt"))
    team.leave()


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    main(*sys.argv[1:])
