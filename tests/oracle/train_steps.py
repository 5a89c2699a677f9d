"""Repeats the first steps of a training run with the real diffusers classes and GLoRA in plain PyTorch, drawing what
the run drew.

    python -m tests.oracle.train_steps DIFFUSERS_DIR RUN/config.json [--steps 10] --output OUT [--cache FOLDER]

Writes OUT/losses.json ({"losses": [one a step], "items": [[{kind, path, timestep, loss}]]}) and OUT/adapter.safetensors
(keys <path>.lora_{down,up,gate}). Without --cache images and videos are read by PIL and PyAV and encoded by the real
autoencoder; with it the run's own posteriors are taken, so that only the training is compared."""

import argparse
import json
import math
from pathlib import Path

import torch

from . import glora, training_data
from .families import open_pipeline, read_json
from .named_random import generator, normal, uniform


class Batches:
    """Which items make up micro-batch m."""

    def __init__(self, items, data, train, seed):
        self.items, self.data, self.size, self.seed = items, data, train["batch"], seed
        self.starts = [training_data.clip_starts(i, data) for i in items]

    def at(self, m):
        """(item, flip, start_s) each"""
        flips, clips = (
            uniform((self.size,), generator(self.seed, m, "flip")),
            uniform((self.size,), generator(self.seed, m, "clip_start")),
        )
        found = []
        for b in range(self.size):
            epoch, place = divmod(m * self.size + b, len(self.items))
            index = int(torch.randperm(len(self.items), generator=generator(self.seed, epoch, "order"))[place])
            item, starts = self.items[index], self.starts[index]
            if item.kind == "image":
                found.append((item, bool(flips[b] < self.data["image_flip"]), 0.0))
            else:
                found.append((item, False, starts[int(clips[b] * len(starts))]))
        return found


class Step:
    """One micro-batch: draw, noise, predict, compare."""

    def __init__(self, config, family, posteriors, settings):
        self.config, self.family, self.posteriors, self.settings = config, family, posteriors, settings
        self.alphas = family.pipe.scheduler.alphas_cumprod.float()
        self.v_prediction = family.pipe.scheduler.config.prediction_type == "v_prediction"
        self.embeddings = {}

    def embedding(self, caption):
        if caption not in self.embeddings:
            self.embeddings[caption] = self.family.prompt_embedding(caption)
        return self.embeddings[caption]

    def losses(self, m, batch):
        """-> loss (differentiable), [{kind, path, timestep, loss}] in the order of the batch"""
        seed = self.config["run"]["seed"]
        steps = torch.randint(0, len(self.alphas), (len(batch),), generator=generator(seed, m, "timestep"))
        self.settings.dropout_seed = int(torch.randint(0, 2**63 - 1, (1,), generator=generator(seed, m, "dropout")))
        draws = {name: generator(seed, m, name) for name in ("posterior", "noise", "prediction_shift")}
        loss, told = 0.0, [None] * len(batch)
        for kind in ("image", "video"):
            places = [b for b, (item, _, _) in enumerate(batch) if item.kind == kind]
            if not places:
                continue
            each = self.group(kind, [batch[b] for b in places], steps[places], draws)
            loss = loss + self.config["loss"][f"{kind}_weight"] * each.sum() / len(batch)
            for b, value in zip(places, each):
                told[b] = {"kind": kind, "path": str(batch[b][0].path), "timestep": int(steps[b]), "loss": value.item()}
        return loss, told

    def group(self, kind, group, timestep, draws):
        """Loss of each item of one kind."""
        found = [self.posteriors(item, self.config["data"], flip, start) for item, flip, start in group]
        mean, std = (torch.stack([f[i] for f in found]).transpose(1, 2) for i in range(2))  # [B,C,F,h,w]
        x0 = self.family.padded(
            (mean + std * normal(mean.shape, draws["posterior"])) * self.family.vae.config.scaling_factor
        )
        noise = normal(x0.shape, draws["noise"])
        a = self.alphas[timestep].reshape(-1, 1, 1, 1, 1)
        noisy = a.sqrt() * x0 + (1 - a).sqrt() * noise
        target = a.sqrt() * noise - (1 - a).sqrt() * x0 if self.v_prediction else noise
        embedding = torch.cat([self.embedding(item.caption) for item, _, _ in group])
        self.settings.batch = len(group)
        prediction = self.family.predict(noisy, timestep, embedding)
        if kind == "video" and self.config["loss"]["video"] == "ait":
            shift = normal((len(group), 1, 1, *x0.shape[3:]), draws["prediction_shift"])
            prediction = prediction + self.config["loss"]["shift_strength"] * shift
        return (prediction - target).pow(2).flatten(1).mean(1)


def learning_rate(train, step):
    base, warmup, steps = train["learning_rate"], train["warmup_steps"], train["steps"]
    if step < warmup:
        return base * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return {"constant": base, "linear": base * (1 - done), "cosine": base * (1 + math.cos(math.pi * done)) / 2}[
        train["learning_rate_schedule"]
    ]


def train(config, family, posteriors, steps):
    adapter, options, seed = config["adapter"], config["train"], config["run"]["seed"]
    settings = glora.Settings(adapter["scale"], pooling=adapter["gate_pooling"], dropout=adapter["dropout"])
    adapters = glora.inject(family, adapter["rank"], adapter["gate"], settings)
    glora.initialize(adapters, seed)
    parameters = glora.parameters(adapters)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=options["learning_rate"],
        betas=(options["beta1"], options["beta2"]),
        eps=options["epsilon"],
        weight_decay=options["weight_decay"],
    )
    batches = Batches(training_data.items(config["data"]), config["data"], options, seed)
    step = Step(config, family, posteriors, settings)
    losses, told = [], []
    for s in range(steps):
        optimizer.zero_grad()
        total, described = 0.0, []
        for k in range(options["accumulation"]):
            m = s * options["accumulation"] + k
            loss, items = step.losses(m, batches.at(m))
            (loss / options["accumulation"]).backward()
            total += loss.item() / options["accumulation"]
            described += items
        if options["gradient_clip"] > 0:
            torch.nn.utils.clip_grad_norm_(parameters, options["gradient_clip"])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, s)
        optimizer.step()
        losses.append(total)
        told.append(described)
    return adapters, losses, told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("config", type=Path, help="the run's resolved config.json")
    parser.add_argument("--steps", type=int, help="default: the whole run")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="the run's data.cache folder")
    arguments = parser.parse_args()
    from safetensors.torch import save_file

    config, family = read_json(arguments.config), open_pipeline(arguments.pipeline)
    posteriors = (
        training_data.CachedPosteriors(arguments.cache) if arguments.cache else training_data.ComputedPosteriors(family)
    )
    adapters, losses, told = train(config, family, posteriors, arguments.steps or config["train"]["steps"])
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "losses.json").write_text(json.dumps({"losses": losses, "items": told}, indent=1))
    save_file(glora.named_tensors(adapters), arguments.output / "adapter.safetensors")
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
