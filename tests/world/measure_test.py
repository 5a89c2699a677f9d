"""`python -m world.measure`: rows, table and CSV of sample folders, from drawn videos. Exits non-zero on a failure."""

import contextlib
import csv
import io
import json
import tempfile
import unittest
from pathlib import Path

import av
import torch

from tests.world.drawings import film
from world import measure

TRUTH = {
    "references": {
        "subjects": [{"shape": "square", "texture": "plain", "first": "green", "second": "green"}],
        "backgrounds": ["navy", "gray"],
    },
    "prompts": {
        "a toy dancing on a teal background": {
            "subject": {"shape": "circle", "texture": "half", "first": "red", "second": "white"},
            "motion": "hop",
            "background": "teal",
        },
        'a toy, "dancing"': {
            "subject": {"shape": "heart", "texture": "plain", "first": "blue", "second": "blue"},
            "motion": "orbit",
            "background": "plum",
        },
    },
}
TEAL = "a toy dancing on a teal background"


def write_mp4(path, video):
    """As `jointtuner sample` writes one: H.264, yuv420p, crf 17."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=8, options={"crf": "17"})
        stream.height, stream.width, stream.pix_fmt = *video.shape[2:], "yuv420p"
        for frame in (video.permute(0, 2, 3, 1) * 255).round().byte().numpy():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


class Measure(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.truth(TRUTH)
        write_mp4(self.folder / "good.mp4", film(("circle", "half", "red", "white"), "hop", "teal"))
        write_mp4(self.folder / "bad.mp4", film(("square", "plain", "green", "green"), "left", "navy"))
        write_mp4(self.folder / "other.mp4", film(("heart", "plain", "blue", "blue"), "orbit", "plum"))
        self.samples(
            ("good.mp4", "tuned", TEAL, 1),
            ("bad.mp4", "frozen", TEAL, 1),
            ("other.mp4", "tuned", 'a toy, "dancing"', 2),
        )

    def truth(self, document):
        (self.folder / "world.json").write_text(json.dumps(document))

    def samples(self, *rows):
        lines = [json.dumps(dict(zip(("file", "label", "prompt", "seed"), row))) for row in rows]
        (self.folder / "samples.jsonl").write_text("".join(line + "\n" for line in lines))

    def run_command(self, *more):
        """-> exit code, stdout, stderr"""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
            code = measure.main(["--samples", str(self.folder), "--truth", str(self.folder / "world.json"), *more])
        return code, out.getvalue(), errors.getvalue()

    def assert_refused(self, *words):
        code, out, errors = self.run_command("--csv", str(self.folder / "scores.csv"))
        self.assertEqual((code, out, errors.count("\n")), (1, "", 1), errors)
        for word in ("measure: error: ", *words):
            self.assertIn(word, errors)
        self.assertFalse((self.folder / "scores.csv").exists())

    def test_rows_are_the_videos_in_order(self):
        rows = measure.rows([self.folder], measure.Truth(self.folder / "world.json"))
        self.assertEqual([(r.label, r.seed) for r in rows], [("tuned", 1), ("frozen", 1), ("tuned", 2)])
        for row in (rows[0], rows[2]):  # losses of the file must not hide the truth
            self.assertGreater(row.scores["appearance"], 0.75)
            self.assertGreater(row.scores["motion"], 0.9)
            self.assertLess(row.scores["contamination"], 0.05)
            self.assertGreater(row.scores["text"], 0.99)
            self.assertEqual(row.scores["validity"], 1)
            self.assertGreater(row.scores["joint"], 0.85)
            self.assertEqual(row.right(), [True] * 4)
        self.assertEqual(
            (rows[1].scores["contamination"], rows[1].scores["joint"], rows[1].found["motion"]), (1, 0, "left")
        )
        self.assertEqual(rows[1].right(), [False] * 4)

    def test_csv_says_what_was_asked_and_found(self):
        self.assertEqual(self.run_command("--csv", str(self.folder / "scores.csv"))[0], 0)
        text = (self.folder / "scores.csv").read_text()
        self.assertEqual(
            text.splitlines()[0],
            "video,label,prompt,seed,asked_shape,asked_texture,asked_first,asked_second,asked_motion,asked_background,found_shape,found_texture,"
            "found_first,found_second,found_motion,found_background,appearance,motion,contamination,text,validity,joint",
        )
        self.assertIn(
            f'"{self.folder}/good.mp4","tuned","{TEAL}",1,circle,half,red,white,hop,teal,circle,half,red,white,hop,teal,0.',
            text,
        )
        self.assertIn("circle,half,red,white,hop,teal,square,plain,green,green,left,navy,", text)
        self.assertIn('"a toy, ""dancing"""', text)
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual([r["prompt"] for r in rows], [TEAL, TEAL, 'a toy, "dancing"'])
        self.assertEqual((rows[1]["contamination"], rows[1]["joint"]), ("1.000000", "0.000000"))

    def test_what_cannot_be_told_is_empty(self):
        write_mp4(self.folder / "empty.mp4", torch.zeros(8, 3, 32, 32) + 0.05)
        self.samples(("empty.mp4", "frozen", TEAL, 1))
        code, out, _ = self.run_command("--csv", str(self.folder / "scores.csv"))
        self.assertEqual(code, 0)
        self.assertIn(
            ",hop,teal,,,,,,black,0.000000,0.000000,0.000000,0.000000,0.000000,0.000000\n",
            (self.folder / "scores.csv").read_text(),
        )
        self.assertRegex(out, "frozen +1 .* 0.000 +0.000 +0.000 +0.000\n")

    def test_table_has_a_line_a_label(self):
        code, out, errors = self.run_command()
        self.assertEqual((code, errors, out.count("\n")), (0, "", 3))
        self.assertTrue(
            out.startswith(
                "label                    videos appearance motion contamination  text validity joint   shape colours "
                "background motion\n"
            )
        )
        self.assertRegex(out, "tuned +2 .* 1.000 +1.000 +1.000 +1.000\n")
        self.assertRegex(out, "frozen +1 .* 0.000 +0.000 +0.000 +0.000\n")

    def test_what_is_wrong_is_named(self):
        self.samples(("good.mp4", "x", "a cat", 1))
        self.assert_refused("world.json", '"a cat"', '"prompts"')
        self.samples(("none.mp4", "x", TEAL, 1))
        self.assert_refused("none.mp4", "No such file")
        (self.folder / "noise.mp4").write_bytes(b"no film")
        self.samples(("noise.mp4", "x", TEAL, 1))
        self.assert_refused("noise.mp4", "Invalid data")
        write_mp4(self.folder / "large.mp4", torch.zeros(4, 3, 64, 48))
        self.samples(("large.mp4", "x", TEAL, 1))
        self.assert_refused("large.mp4", "32x32", "48x64")
        self.samples()
        self.assert_refused("no videos")
        (self.folder / "samples.jsonl").write_text('{"file":')
        self.assert_refused("samples.jsonl", "damaged")
        (self.folder / "samples.jsonl").write_text('{"file": "good.mp4"}')
        self.assert_refused("samples.jsonl", "damaged", "label")
        (self.folder / "samples.jsonl").unlink()
        self.assert_refused("samples.jsonl", "No such file")

    def test_a_wrong_truth_is_named(self):
        (self.folder / "world.json").write_text("no json")
        self.assert_refused("world.json", "expected references and prompts")
        self.truth({"prompts": {}})
        self.assert_refused("world.json", "references")
        self.truth(TRUTH | {"references": {"subjects": [], "backgrounds": ["sky"]}})
        self.assert_refused("unknown background 'sky'", "navy")
        self.truth(TRUTH | {"prompts": {TEAL: {"motion": "hop"}}})
        self.assert_refused("world.json", TEAL, "expected subject, motion and background")
        self.truth(TRUTH | {"prompts": {TEAL: TRUTH["prompts"][TEAL] | {"motion": "flying"}}})
        self.assert_refused("unknown motion 'flying'", "figure_eight")

    def test_wrong_usage_is_exit_code_2(self):
        with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertRaises(SystemExit) as end:
            measure.main(["--samples", "x"])
        self.assertEqual(end.exception.code, 2)
        self.assertIn("--truth", errors.getvalue())


if __name__ == "__main__":
    unittest.main()
