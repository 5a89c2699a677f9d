"""Turns a local diffusers text-to-video folder into a jointtuner bundle: `python -m exporter`, behind
scripts/export_backbone.sh."""

import os
import warnings

# Before diffusers and transformers are imported, which read them then: nothing is ever downloaded.
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
warnings.simplefilter("ignore")
