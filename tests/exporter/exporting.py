"""What the exporter's tests need: runs of the real command in this process, and broken copies of folders."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
from safetensors.torch import load_file, save_file

from exporter.__main__ import main
from tests.pipelines.tiny import write_pipeline

WORK = Path(tempfile.mkdtemp(prefix="export_test."))


def write_quietly(name, folder, **options):
    import diffusers
    import transformers

    for library in (diffusers, transformers):  # test output, not progress bars
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        write_pipeline(name, folder, **options)


def run(*arguments):
    """-> (exit code, stderr)"""
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        code = main([str(a) for a in arguments])
    return code, errors.getvalue()


def edit_json(path, **changes):
    document = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        document.pop(key, None) if value is ... else document.__setitem__(key, value)
    path.write_text(json.dumps(document), encoding="utf-8")


def edit_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


class Refusals(unittest.TestCase):
    """One fault each: exit code 1, one clear line, and nothing left behind."""

    source = None  # folder that is copied

    def setUp(self):
        self.folder = WORK / "broken"
        shutil.copytree(self.source, self.folder)

    def tearDown(self):
        shutil.rmtree(self.folder)

    def assert_refused(self, *words, arguments=(), target=WORK / "none"):
        before = sorted(p.name for p in WORK.iterdir())
        code, log = run(self.folder, target, *arguments)
        errors = [line for line in log.splitlines() if "error:" in line]
        self.assertEqual((code, len(errors)), (1, 1), log)
        for word in words:
            self.assertIn(word, errors[0])
        self.assertEqual(sorted(p.name for p in WORK.iterdir()), before)

    def index(self, part, value):
        edit_json(self.folder / "model_index.json", **{part: value})
