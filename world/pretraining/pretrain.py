"""Pretrains one of the two small pipelines from nothing: autoencoder (then its decoder alone, where whitened latents
ask for it), one-frame samples, clips among them.

    python -m world.pretraining.pretrain unet3d|cogvideox WORK [--device cpu] [--threads 1] [--workers 0]
                                         [--minutes 60] [--start PIPELINE]

Everything is kept below WORK/<family>: state.pt (written every five minutes and at the end, so the next call goes on
where this one stopped), log.jsonl (losses; the curves), and pipeline/, the averaged weights in fp16 in diffusers
layout, written whenever it stops. Every random number comes from a generator named by (stage, step): a run in pieces
equals a run in one. Without a state.pt it begins from the weights of --start, a pipeline/ with its progress.json, with
a fresh optimiser."""

import argparse
import json
import math
import os
import signal
import time
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from world import sprites  # noqa: E402
from world.pretraining import curriculum  # noqa: E402
from world.pretraining.pipelines import FAMILIES, multiply_in_bfloat16, token_ids, write_pipeline  # noqa: E402

SAVE_EVERY_S = 300
STAGES = ("autoencoder", "decoder", "images", "videos")
EMA = 0.998


class Drawings(torch.utils.data.Dataset):
    """draw(i): the pictures or clips of step i, or those of a pool from the i-th on."""

    def __init__(self, draw):
        self.draw = draw

    def __getitem__(self, i):
        return self.draw(i)

    def from_to(self, indices, workers):
        """In order, drawn ahead by so many processes; by none, when they are asked for."""
        return iter(torch.utils.data.DataLoader(self, batch_size=None, sampler=indices, num_workers=workers))


class Run:
    def __init__(self, family, work, minutes, stages, start=None, device="cpu", workers=0):
        self.family, self.folder, self.stages = family, work / family.name, stages
        self.device, self.workers = torch.device(device), workers
        self.settings = curriculum.SETTINGS[family.name]
        self.folder.mkdir(parents=True, exist_ok=True)
        family.write_tokenizer(self.folder / "tokenizer")
        self.tokenizer = family.tokenizer(self.folder / "tokenizer")
        torch.manual_seed(curriculum.SEED)
        self.denoiser, self.vae, self.text = family.untrained(self.tokenizer)
        for model in (self.denoiser, self.vae, self.text):
            model.eval().to(self.device)  # TemporalConvLayer has a dropout of 0.1 of its own
        self.rounding = 1e-3  # of two passes of the autoencoder that are equal in exact arithmetic
        torch.backends.cudnn.allow_tf32 = False  # a GPU's convolutions as exact as a processor's
        if self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
            multiply_in_bfloat16(self.denoiser)
            if family.name == "cogvideox":  # 3-D convolutions over whole clips
                multiply_in_bfloat16(self.vae)
                self.rounding = 2**-5  # factors of 8 bits, through some ten layers
        self.stop_at = time.monotonic() + 60 * minutes
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stop_at", 0))
        self.stage, self.step, self.optimiser, self.averages, self.seconds = STAGES[0], 0, None, None, 0.0
        state, self.loaded = self.folder / "state.pt", None
        if state.exists():
            self.loaded = torch.load(state, weights_only=True, map_location=self.device)
        elif start:
            self.loaded = self.begun(start)
        if self.loaded:
            for name in {"denoiser", "vae", "text"} & self.loaded.keys():
                getattr(self, name).load_state_dict(self.loaded[name])
            self.stage, self.step, self.seconds = self.loaded["stage"], self.loaded["step"], self.loaded["seconds"]

    def begun(self, folder):
        """What that folder holds; a part that is not trained yet may be left out of it."""
        weights = {
            name: getattr(__import__(library), kind)
            .from_pretrained(folder / part, torch_dtype=torch.float32)
            .state_dict()
            for name, part in zip(("denoiser", "vae", "text"), self.family.parts_by_name)
            if (folder / part).exists()
            for library, kind in [self.family.index[part]]
        }
        return weights | dict(optimiser=None) | json.loads((folder / "progress.json").read_text())

    def write(self):
        """The pipeline of the averaged weights, and how far they are."""
        trained = [p.detach().clone() for p in self.parameters]
        self.take_averages()
        write_pipeline(self.family, self.folder / "pipeline", (self.denoiser, self.vae, self.text))
        progress = dict(stage=self.stage, step=self.step, seconds=round(self.seconds))
        (self.folder / "pipeline" / "progress.json").write_text(json.dumps(progress) + "\n")
        with torch.no_grad():
            for p, value in zip(self.parameters, trained):
                p.copy_(value)

    def trained(self):
        models = {"autoencoder": [self.vae], "decoder": [self.vae.decoder]}.get(self.stage, [self.denoiser, self.text])
        return [p for m in models for p in m.parameters()]

    def begin(self, stage):
        if self.stage != stage:  # a new stage: the averaged weights of the last one are where it starts
            self.stage, self.step, self.loaded = stage, 0, None
        self.parameters = self.trained()
        self.optimiser = torch.optim.AdamW(self.parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-3, foreach=True)
        self.averages = [p.detach().clone() for p in self.parameters]
        if self.loaded and self.loaded["optimiser"]:
            self.optimiser.load_state_dict(self.loaded["optimiser"])
            self.averages = self.loaded["averages"]
        self.loaded = None

    def save(self):
        state = dict(
            stage=self.stage,
            step=self.step,
            seconds=self.seconds,
            denoiser=self.denoiser.state_dict(),
            vae=self.vae.state_dict(),
            text=self.text.state_dict(),
            optimiser=self.optimiser and self.optimiser.state_dict(),
            averages=self.averages,
        )
        torch.save(state, self.folder / "state.new")
        os.replace(self.folder / "state.new", self.folder / "state.pt")

    def take_averages(self):
        with torch.no_grad():
            for p, average in zip(self.parameters, self.averages):
                p.copy_(average)

    def descend(self, loss, rate):
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        keep = min(EMA, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(self.averages, [p.detach() for p in self.parameters], 1 - keep)

    def run(self, stage, steps_of, decay):
        """steps_of() gives the function of one step. False when it was told to stop before the end."""
        if self.stages.index(stage) < self.stages.index(self.stage):
            return True
        self.begin(stage)
        one_step = steps_of()
        steps, batch, largest = self.settings[stage]
        saved = reported = time.monotonic()
        sums = {}
        while self.step < steps:
            for name, value in one_step(
                self.step, batch, curriculum.learning_rate(self.step, steps, largest, decay)
            ).items():
                total, times = sums.get(name, (0.0, 0))
                sums[name] = (total + value, times + 1)
            self.step += 1
            now = time.monotonic()
            if self.step % 100 == 0 or self.step == steps:
                self.seconds += now - reported
                reported = now
                line = dict(
                    stage=stage,
                    step=self.step,
                    seconds=round(self.seconds),
                    **{k: round(t / m, 5) for k, (t, m) in sums.items()},
                )
                print(json.dumps(line), flush=True)
                with (self.folder / "log.jsonl").open("a") as log:
                    print(json.dumps(line), file=log)
                sums = {}
            if now > self.stop_at:
                self.seconds += now - reported
                self.save()
                self.write()
                print(
                    f"stopped at step {self.step} of {steps} of {stage}; the same command goes on from here", flush=True
                )
                return False
            if now - saved > SAVE_EVERY_S:
                self.save()
                saved = now
        self.take_averages()
        return True

    # 1. autoencoder

    def autoencoder_step(self):
        clip_frames, clip_batch, stage = (
            self.family.frames,
            self.settings[self.stage][1],
            self.stage,
        )

        def draw(step):
            g, _ = curriculum.rng(stage, step)
            if self.family.name == "unet3d" or step % 4 == 0:
                count = clip_batch if self.family.name == "unet3d" else 4 * clip_batch
                return torch.stack([sprites.render(curriculum.picture_scene(g), 1) for _ in range(count)])
            clips = []
            for scene in (sprites.random_scene(g) for _ in range(clip_batch)):
                known = g.random() < curriculum.KNOWN_MOTIONS_SHARE
                places = sprites.track(scene, clip_frames) if known else sprites.wander(scene, g, clip_frames)
                clips.append(sprites.draw(scene, places))
            return torch.stack(clips)

        clips_of = Drawings(draw).from_to(range(self.step, self.settings[stage][0]), self.workers)
        return lambda step, batch, rate: self.autoencode(
            next(clips_of).to(self.device), curriculum.rng(stage, step)[1], rate
        )

    def autoencode(self, clips, gt, rate):
        frames = clips.shape[1]
        with torch.set_grad_enabled(self.stage == "autoencoder"):
            mean, logvar = self.family.encode(self.vae, clips)
        noise = torch.randn(mean.shape, generator=gt).to(self.device) * 0.05 * mean.detach().std()
        again = self.family.decode(self.vae, mean + noise)
        near = F.max_pool2d((clips.amax(2) > 0.6).float(), 3, 1, 1).unsqueeze(2)  # sprites are a tenth of the pixels
        weight = (1 + 6 * near) / (1 + 6 * near).mean()
        error = 2 * (again - clips)
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        loss = (
            (weight * error.abs()).mean()
            + 2 * (weight * error**2).mean()
            + 3e-4 * kl
            + 1e-3 * (logvar + 6).pow(2).mean()
        )
        self.descend(loss, rate)
        psnr = -10 * torch.log10((error / 2).square().mean()).item()
        return {"psnr" if frames == 1 else "psnr_clips": psnr, "kl": kl.item()}

    @torch.no_grad()
    def whiten(self):
        g, _ = curriculum.rng("autoencoder", 10**6)
        frames = self.family.frames
        z = [
            self.family.encode(
                self.vae,
                torch.stack([sprites.render(sprites.random_scene(g), frames) for _ in range(50)]).to(self.device),
            )[0]
            for _ in range(curriculum.WHITENING_CLIPS // 50)
        ]
        clips = torch.stack([sprites.render(sprites.random_scene(g), frames) for _ in range(4)]).to(self.device)
        mean, spread = (f(torch.cat(z), (0, 2, 3, 4)) for f in (torch.mean, torch.std))

        def again():
            return self.family.decode(self.vae, self.family.encode(self.vae, clips)[0])

        before = again()
        self.family.whiten(self.vae, torch.zeros_like(mean), spread)
        # Whatever the latents reach must have got the factors.
        torch.testing.assert_close(again(), before, rtol=0, atol=self.rounding)
        scaled = mean / (spread * self.family.scaling)
        self.family.whiten(self.vae, scaled, torch.full_like(mean, 1 / self.family.scaling))
        print(
            f"means taken out, up to {scaled.abs().max():.2f}; the pictures change by up to "
            f"{(again() - before).abs().max():.4f}",
            flush=True,
        )

    # 2. and 3. denoiser and text encoder

    @torch.no_grad()
    def pool(self, kind):
        """Scenes by their index and latents [N,C,f,8,8] in fp16, drawn and encoded once."""
        count = curriculum.POOL[kind]
        stage, frames = ("images", 1) if kind == "images" else ("videos", self.family.frames)
        stops = curriculum.PICTURE_WINDOW[self.family.name]
        scenes = [
            curriculum.picture_place(curriculum.picture_scene(g), i / count, stops)
            if kind == "images"
            else curriculum.clip_place(sprites.random_scene(g), i / count)
            for i in range(count)
            for g, _ in [curriculum.rng(stage, 10**7 + i)]
        ]
        path = self.folder / f"{kind}.pt"
        if path.exists():
            return scenes, torch.load(path, weights_only=True, map_location=self.device)
        print(f"drawing and encoding {count} {kind}", flush=True)
        drawn = Drawings(lambda i: torch.stack([sprites.render(s, frames) for s in scenes[i : i + 50]])).from_to(
            range(0, count, 50), self.workers
        )
        latents = torch.cat(
            [(self.family.encode(self.vae, clips.to(self.device))[0] * self.family.scaling).half() for clips in drawn]
        )
        torch.save(latents, self.folder / f"{kind}.new")
        os.replace(self.folder / f"{kind}.new", path)
        return scenes, latents

    def denoiser_step(self, stage):
        alphas = self.family.scheduler().alphas_cumprod.float().to(self.device)
        name = self.family.name
        windows = dict(images=curriculum.PICTURE_WINDOW[name], videos=curriculum.CLIP_WINDOW)
        bands = dict(images=curriculum.PICTURE_NOISE[name], videos=curriculum.CLIP_NOISE[name])
        images = self.pool("images")
        clips = self.pool("clips") if stage == "videos" else None
        ids_of = {}
        directed = None
        if clips:
            early = clips[0][: int(curriculum.CLIP_WINDOW[0][1] * curriculum.POOL["clips"])]
            directed = np.array([i for i, scene in enumerate(early) if scene.motion in curriculum.FIRST_MOTIONS])

        def step(number, batch, rate):
            g, gt = curriculum.rng(stage, number)
            of_images = clips is None or g.random() < curriculum.IMAGE_SHARE
            kind, (scenes, latents) = ("images", images) if of_images else ("videos", clips)
            progress = number if kind == stage else math.inf
            if not of_images and number < curriculum.FIRST_STEPS:
                chosen = g.choice(directed, batch)
            else:
                first, last = curriculum.window(progress, windows[kind])
                chosen = g.integers(int(first * len(scenes)), int(last * len(scenes)), self.settings[kind][1])
            captions = [
                "" if g.random() < curriculum.CAPTION_DROP else sprites.caption(scenes[i], not of_images, g)
                for i in chosen
            ]
            new = [c for c in dict.fromkeys(captions) if c not in ids_of]
            ids_of.update(zip(new, token_ids(self.tokenizer, new)) if new else ())
            clean = latents[torch.from_numpy(chosen).to(self.device)].float()
            share, low, high = curriculum.noise_band(progress, bands[kind])
            within = share > 0 and torch.rand(len(chosen), generator=gt) < share
            t = torch.randint(0, 1000, (len(chosen),), generator=gt)
            t = torch.where(torch.as_tensor(within), low + t * (high - low) // 1000, t)
            t, noise = t.to(self.device), torch.randn(clean.shape, generator=gt).to(self.device)
            signal_, spread = (x.view(-1, 1, 1, 1, 1) for x in (alphas[t].sqrt(), (1 - alphas[t]).sqrt()))
            states = self.text(torch.stack([ids_of[c] for c in captions]).to(self.device))[0]
            predicted = self.family.predict(self.denoiser, signal_ * clean + spread * noise, t, states)
            loss = F.mse_loss(predicted, signal_ * noise - spread * clean)
            self.descend(loss, rate)
            return {"image_loss" if of_images else "video_loss": loss.item()}

        return step

    def all(self):
        if self.stage == "autoencoder":
            if not self.run("autoencoder", self.autoencoder_step, decay=0.7):
                return
            self.begin("decoder")
            self.save()
        if self.stage == "decoder":
            if self.step == 0:
                self.whiten()
            if not self.run("decoder", self.autoencoder_step, decay=0.7):
                return
            self.begin("images")
            self.save()
        if self.stage == "images":
            if not self.run("images", lambda: self.denoiser_step("images"), decay=0):
                return
            self.begin("videos")
            self.save()
        if not self.run("videos", lambda: self.denoiser_step("videos"), decay=0.15):
            return
        self.save()
        self.write()
        print(f"done: {self.folder / 'pipeline'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("work", type=Path)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; the same random numbers, other rounding")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw ahead, for a GPU")
    parser.add_argument(
        "--start", type=Path, help="a pipeline that this program has written, to begin from when WORK holds no state"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="stop, resumable, after so long")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Run(
        FAMILIES[arguments.family],
        arguments.work,
        arguments.minutes,
        STAGES,
        arguments.start,
        arguments.device,
        arguments.workers,
    ).all()


if __name__ == "__main__":
    main()
