"""What a kind of text-to-video pipeline must say to be exported; unet3d.py and cogvideox.py are the kinds that
exist."""

import inspect
from types import SimpleNamespace

from .diffusers_folder import read_json
from .failure import ExportError, one_line

ROLES = ("denoiser", "autoencoder", "text_encoder")


def complete_config(model_class, folder):
    """config.json with the defaults of its class: what the loaded model will have, without loading it."""
    if hasattr(model_class, "config_class") and model_class.config_class is not None:  # transformers
        try:
            return model_class.config_class.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise ExportError(f"{folder}/config.json: {one_line(error)}") from error
    known = {key: p.default for key, p in inspect.signature(model_class.__init__).parameters.items() if key != "self"}
    declared = read_json(folder / "config.json")
    return SimpleNamespace(**{key: declared.get(key, default) for key, default in known.items()})


class Family:
    """One kind of pipeline. Instances hold the configs of a checked folder: everything but the weights."""

    name = ""  # the manifest's `family`
    shown = ""  # what users call these models
    parts = {}  # role -> (folder, library, class)
    tokenizer = ""  # transformers' class
    schedulers = ()  # diffusers' classes whose constants are understood
    root = ""  # attribute of the traced denoiser that holds the model
    # (ancestor class, names, group): a linear counts when a name is one of the dot-separated parts of its path below
    # the ancestor
    adapter_rules = ()
    segments = ()  # units of activation checkpointing: regular expressions of module paths below root
    gate_init = ""

    def __init__(self, folder, classes):
        self.folder = folder
        self.configs = {role: complete_config(classes[role], folder / self.parts[role][0]) for role in ROLES}
        self.check()

    @property
    def compression(self):
        """Pixels per latent on each side: every level of the autoencoder but the last halves the size."""
        return 2 ** (len(self.configs["autoencoder"].block_out_channels) - 1)

    def refuse_vae(self, *keys):
        """Settings of other kinds of autoencoders, which would need what nobody here does."""
        for key in keys:
            if getattr(self.configs["autoencoder"], key) not in (None, False):
                raise ExportError(
                    f"vae: {key} is set, and {self.shown} have no such setting: this VAE belongs to another kind of "
                    "model"
                )

    # What a kind says, from its configs alone. dtype is torch's.
    def check(self):
        """Raises ExportError if this model of the kind cannot be exported."""

    def part(self, role, model, dtype):
        """-> Part"""
        raise NotImplementedError

    def denoiser(self):
        """Its fields in the manifest, but for file, dtype, adapter_rules, gate_init and segments."""
        raise NotImplementedError

    def latents(self):
        raise NotImplementedError

    def autoencoder(self):
        """Its fields but for file and dtype."""
        raise NotImplementedError

    def text(self, target):
        """Writes the tokenizer's files into `target`; the manifest's fields but for file and dtype."""
        raise NotImplementedError

    def preferred(self, scheduler):
        """What the folder itself says about size and sampling: height, width, frames, fps, steps, guidance,
        guidance_schedule."""
        raise NotImplementedError

    def check_size(self, height, width, frames):
        """Raises ExportError unless a video of this size can be made."""
        raise NotImplementedError
