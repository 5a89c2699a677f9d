"""Turns a local diffusers text-to-video folder into a jointtuner bundle; the command line is scripts/export_backbone.py."""
