"""The kinds of pipelines that can be exported."""

from .cogvideox import CogVideoX
from .diffusers_folder import check_folder, read_index
from .failure import ExportError
from .unet3d import UNet3D

FAMILIES = (UNet3D, CogVideoX)


def open_folder(folder):
    """The checked family of a local diffusers folder and the class name of its pipeline; no weights are read."""
    index = read_index(folder)
    alike = [kind for kind in FAMILIES if kind.parts["denoiser"][0] in index]
    same_class = [kind for kind in alike if index[kind.parts["denoiser"][0]][-1:] == [kind.parts["denoiser"][2]]]
    for kind in same_class or alike:  # where no class is known, check_folder names the foreign one
        return kind(folder, check_folder(folder, index, kind)), index.get("_class_name", "unknown")
    known = " and ".join(f"{k.shown} ({k.parts['denoiser'][0]}: {k.parts['denoiser'][2]})" for k in FAMILIES)
    raise ExportError(
        f"{folder}/model_index.json names no {' and no '.join(k.parts['denoiser'][0] for k in FAMILIES)}: this "
        f"exporter knows {known}"
    )
