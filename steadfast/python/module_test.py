"""The Python module against the program: the same numbers, the same errors."""

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import numpy as np

import steadfast

SOURCE = os.environ["STEADFAST_SOURCE_DIR"]
PROGRAM = os.environ["STEADFAST_PROGRAM"]
MODEL = os.path.join(SOURCE, "models", "lenet5-w4a4-as-saq.onnx")


def some_images(count=64, seed=5):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8), random.integers(0, 10, count)


def save(folder, images, labels):
    for split in ("train", "test"):
        np.save(os.path.join(folder, f"{split}_images.npy"), images)
        np.save(os.path.join(folder, f"{split}_labels.npy"), labels)


class Models(unittest.TestCase):
    def test_says_what_a_file_holds(self):
        model = steadfast.load(MODEL)
        self.assertEqual((model.classes, model.input_shape, model.profile), (10, (1, 28, 28), "onnx"))
        self.assertEqual(model.inspect()["sha256"], model.sha256)
        weights = {p.name: p for p in model.parameters}["conv1.weight"]
        self.assertEqual((weights.role, weights.format, weights.bits, weights.shape), ("weight", "int4", 4, (6, 1, 5, 5)))
        np.testing.assert_array_equal(weights.values & 15, weights.patterns)
        self.assertTrue((abs(weights.values) <= 8).all())
        self.assertEqual(steadfast.load(MODEL, profile="ort").profile, "ort")

    def test_errors_are_the_program_s(self):
        with self.assertRaises(steadfast.IoError) as io:
            steadfast.load("nowhere.onnx")
        self.assertIsInstance(io.exception, OSError)
        with self.assertRaisesRegex(steadfast.UsageError, "rate"):
            steadfast.sample_faults(steadfast.load(MODEL), rate=2)
        with self.assertRaises(ValueError):
            steadfast.FaultModel("flop")
        with self.assertRaisesRegex(steadfast.InputError, "conv9"):
            steadfast.predict(steadfast.load(MODEL), some_images()[0], faults=[steadfast.Fault("conv9", 0, 0)])
        with self.assertRaisesRegex(steadfast.UsageError, "float64"):
            steadfast.predict(steadfast.load(MODEL), some_images()[0] / 255)
        with self.assertRaises(TypeError):  # keyword-only
            steadfast.sample_faults(steadfast.load(MODEL), "flip")


class Faults(unittest.TestCase):
    def test_a_fault_changes_what_it_says(self):
        model = steadfast.load(MODEL)
        images, _ = some_images()
        clean = steadfast.predict(model, images)
        self.assertEqual((clean.shape, clean.dtype), ((64, 10), np.float32))
        fault = steadfast.Fault("fc3.weight", 3, 2)
        moved = steadfast.predict(model, images, faults=[fault]) != clean
        self.assertTrue(moved[:, 0].any())
        self.assertFalse(moved[:, 1:].any())  # weight 3 is of class 0
        np.testing.assert_array_equal(steadfast.predict(model, images, faults=[]), clean)
        np.testing.assert_array_equal(steadfast.predict(model, np.moveaxis(images, 1, 3)), clean)

    def test_real_numbers_are_the_codes_that_bytes_are(self):
        model = steadfast.load(MODEL)
        images, labels = some_images()
        reals = (images.astype(np.float32) - model.input_zero_point) * np.float32(model.input_scale)
        np.testing.assert_array_equal(steadfast.predict(model, reals), steadfast.predict(model, images))
        np.testing.assert_array_equal(steadfast.predict(model, np.moveaxis(reals, 1, 3)), steadfast.predict(model, images))
        with self.assertRaisesRegex(steadfast.InputError, "int8"):
            steadfast.predict(model, (images.astype(np.int16) - 128).astype(np.int8))
        of_reals = steadfast.inject(model, images=reals, labels=labels, rate=1e-2, trials=3)
        of_bytes = steadfast.inject(model, images=images, labels=labels, rate=1e-2, trials=3)
        np.testing.assert_array_equal(of_reals.trials["correct"], of_bytes.trials["correct"])
        self.assertNotEqual(of_reals.trials["id"][0], of_bytes.trials["id"][0])

    def test_inject_has_the_trials_of_the_program(self):
        model = steadfast.load(MODEL)
        images, labels = some_images()
        with tempfile.TemporaryDirectory() as folder:
            save(folder, images, labels)
            table = os.path.join(folder, "trials.csv")
            subprocess.run([PROGRAM, "inject", MODEL, "--dataset", "npy", "--data", folder, "--fault", "flip,sa0",
                            "--rate", "1e-3,1e-2", "--trials", "7", "--seed", "3", "--store",
                            os.path.join(folder, "s.sqlite"), "--csv", table], check=True, capture_output=True)
            with open(table) as file:
                rows = list(csv.DictReader(file))
        campaign = steadfast.inject(model, images=images, labels=labels, fault=["flip", "sa0"], rate=[1e-3, 1e-2],
                                    trials=7, seed=3)
        self.assertEqual(len(campaign), 28)
        self.assertEqual([row["id"] for row in rows], list(campaign.trials["id"]))
        self.assertEqual([int(row["correct"]) for row in rows], list(campaign.trials["correct"]))
        self.assertEqual([int(row["changed"]) for row in rows], list(campaign.trials["changed"]))
        frame = campaign.to_pandas()
        self.assertEqual(len(frame.groupby(["fault", "rate"])), 4)
        self.assertAlmostEqual(frame.accuracy[0], campaign.trials["accuracy"][0])
        self.assertEqual(len(campaign.summary["cells"]), 4)
        for trial in (0, 6):  # and each is what predict says of its faults
            faults = steadfast.sample_faults(model, rate=1e-2, trial=trial, seed=3)
            answers = steadfast.predict(model, images, faults=faults).argmax(axis=1)
            row = campaign.trials[(campaign.trials["fault"] == "flip") & (campaign.trials["rate"] == 1e-2)][trial]
            self.assertEqual((row["faulty_bits"], row["correct"]), (len(faults), (answers == labels).sum()))
        listed = steadfast.inject(model, images=images, labels=labels, fault_list=[faults, []])
        self.assertEqual(list(listed.trials["correct"]), [row["correct"], (steadfast.predict(model, images).argmax(axis=1)
                                                                           == labels).sum()])

    def test_faults_of_buffers_are_faults_too(self):
        model = steadfast.load(MODEL)
        images, labels = some_images()
        chip = steadfast.Chip("everything")
        campaign = steadfast.inject(model, images=images, labels=labels, chip=chip, rate=1e-2, trials=2, seed=3)
        for trial in range(2):
            faults = steadfast.sample_faults(model, chip=chip, rate=1e-2, trial=trial, seed=3)
            self.assertEqual(len(faults), campaign.trials["faulty_bits"][trial])
            self.assertTrue({f.tensor for f in faults} - {p.name for p in model.parameters})  # buffers
            answers = steadfast.predict(model, images, faults=faults).argmax(axis=1)
            self.assertEqual((answers == labels).sum(), campaign.trials["correct"][trial])

    def test_a_chip_decides_how_codes_are_stored(self):
        model = steadfast.load(MODEL)
        images, labels = some_images()
        with tempfile.TemporaryDirectory() as folder:
            save(folder, images, labels)
            chip, table = os.path.join(folder, "chip.yaml"), os.path.join(folder, "trials.csv")
            with open(chip, "w") as file:
                file.write("chip: grey\nmemories:\n  - name: buffer\n    holds: weights\n    encoding: gray\n    word_bits: 16\n")
            subprocess.run([PROGRAM, "inject", MODEL, "--dataset", "npy", "--data", folder, "--chip", chip, "--rate", "1e-2",
                            "--trials", "3", "--store", os.path.join(folder, "s.sqlite"), "--csv", table], check=True,
                           capture_output=True)
            with open(table) as file:
                rows = list(csv.DictReader(file))
            campaign = steadfast.inject(model, images=images, labels=labels, chip=chip, rate=1e-2, trials=3)
            self.assertEqual([row["id"] for row in rows], list(campaign.trials["id"]))
            self.assertEqual([row["encoding"] for row in rows], list(campaign.trials["encoding"]))
            self.assertEqual([int(row["correct"]) for row in rows], list(campaign.trials["correct"]))
            faults = steadfast.sample_faults(model, chip=chip, rate=1e-2)
            answers = steadfast.predict(model, images, faults=faults, encoding="gray").argmax(axis=1)
            self.assertEqual((answers == labels).sum(), campaign.trials["correct"][0])
            for more in ({"encoding": "sign"}, {"word_bits": 32}):
                with self.assertRaises(steadfast.UsageError):
                    steadfast.inject(model, images=images, labels=labels, chip=chip, **more)
        of_biases = steadfast.inject(model, images=images, labels=labels, fault="flip@biases", rate=1e-2, trials=1)
        self.assertGreater(of_biases.trials["faulty_bits"][0], 0)

    def test_faults_are_values(self):
        fault = steadfast.Fault("conv1.weight", 1, 2)
        self.assertEqual({fault, steadfast.Fault("conv1.weight", 1, 2)}, {fault})
        self.assertNotEqual(fault, None)
        self.assertEqual(pickle.loads(pickle.dumps(fault)), fault)
        with self.assertRaises(steadfast.UsageError):
            steadfast.Fault("conv1.weight", 0, 0, "flip\n0,conv1.weight,1,1,flip")

    def test_what_is_impossible_is_refused_by_name(self):
        model = steadfast.load(MODEL)
        images, labels = some_images(8)
        given = dict(images=images, labels=labels)
        for name, value in [("trials", 2.5), ("trials", 0), ("seed", -1), ("threads", -5), ("memory", 2**44), ("count", -1),
                            ("floor", 500), ("floor", float("nan")), ("fault_list", [["a"]])]:
            with self.subTest(name=name, value=value), self.assertRaisesRegex(steadfast.UsageError, f"^{name}: "):
                steadfast.inject(model, **given, **{name: value})
        for name, value in [("sample", 0.0), ("sample", 7.0), ("faults", -1), ("layer", "")]:
            with self.subTest(name=name, value=value), self.assertRaisesRegex(steadfast.UsageError, f"^{name}: "):
                steadfast.sweep(model, **given, **{name: value})
        with self.assertRaisesRegex(steadfast.UsageError, "^labels: one is -4"):
            steadfast.inject(model, images=images, labels=labels - 4 - labels)
        with self.assertRaisesRegex(steadfast.UsageError, "^dataset, data: "):
            steadfast.inject(model, data="/nowhere", **given)
        with self.assertRaisesRegex(steadfast.UsageError, "^models: "):
            steadfast.inject([], **given)
        with self.assertRaisesRegex(steadfast.UsageError, "^models: "):
            steadfast.inject([MODEL], **given)
        with self.assertRaisesRegex(steadfast.UsageError, "^rate: iterate"):
            next(steadfast.iterate(model, trials=3, rate=[1e-3, 1e-2], fault="flip", encoding="twos", **given))
        self.assertEqual(len(steadfast.inject(model, rate=np.float32(0.01), trials=1, **given)), 1)

    def test_a_file_that_changed_is_not_measured(self):
        images, labels = some_images(8)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.onnx")
            shutil.copy(MODEL, path)
            model = steadfast.load(path)
            shutil.copy(os.path.join(SOURCE, "models", "lenet5-w4a4-standard.onnx"), path)
            with self.assertRaisesRegex(steadfast.InputError, "load it again"):
                steadfast.inject(model, images=images, labels=labels, trials=1)

    def test_a_store_resumes_and_reports(self):
        model = steadfast.load(MODEL)
        images, labels = some_images()
        with tempfile.TemporaryDirectory() as folder:
            store = os.path.join(folder, "trials.sqlite")
            settings = dict(images=images, labels=labels, rate=1e-2, store=store)
            first = steadfast.inject(model, trials=5, **settings)
            again = steadfast.inject(model, trials=8, extend=True, **settings)
            self.assertEqual((first.resumed, again.resumed), (0, 5))
            np.testing.assert_array_equal(first.trials, again.trials[:5])
            with self.assertRaisesRegex(steadfast.InputError, "seed"):
                steadfast.inject(model, trials=8, seed=9, **settings)
            self.assertIn("flip", steadfast.report(store))
            self.assertIsNone(steadfast.report([store], output=os.path.join(folder, "page.html")))
            with open(os.path.join(folder, "page.html")) as page:
                self.assertIn("</html>", page.read())
        one_by_one = list(steadfast.iterate(model, trials=8, group=3, images=images, labels=labels, rate=1e-2, fault="flip",
                                          encoding="twos"))
        self.assertEqual([row["correct"] for row in one_by_one], list(again.trials["correct"]))

    def test_a_sweep_is_every_single_fault(self):
        model = steadfast.load(MODEL)
        images, labels = some_images(16)
        sweep = steadfast.sweep(model, images=images, labels=labels, layer="conv1")
        self.assertEqual(len(sweep), 6 * 25 * 4)
        worst = min(sweep, key=lambda row: row["accuracy"])
        fault = steadfast.Fault(str(worst["tensor"]), int(worst["index"]), int(worst["bit"]))
        answers = steadfast.predict(model, images, faults=[fault]).argmax(axis=1)
        self.assertEqual((answers == labels).sum(), worst["correct"])
        self.assertEqual(len(steadfast.sweep(model, images=images, labels=labels, layer="conv1", fault="all").faults), 1800)

    def test_tolerance_is_the_program_s(self):
        images, labels = some_images(100)
        model = steadfast.load(MODEL)
        labels = steadfast.predict(model, images).argmax(axis=1)
        with tempfile.TemporaryDirectory() as folder:
            save(folder, images, labels)
            said = subprocess.run([PROGRAM, "tolerance", MODEL, "--dataset", "npy", "--data", folder, "--floor", "60",
                                   "--yield", "0.9", "--from", "1e-4", "--to", "1e-1", "--per-decade", "4", "--json", "-"],
                                  check=True, capture_output=True, text=True).stdout
        answer = steadfast.tolerance(model, images=images, labels=labels, floor=60, yield_=0.9, lowest=1e-4, highest=1e-1,
                                     per_decade=4)
        expected = json.loads(said)["models"][0]
        self.assertEqual(answer, expected)
        self.assertIsNotNone(answer["yield"]["rate"])

    def test_quantize_is_the_program_s(self):
        with tempfile.TemporaryDirectory() as folder:
            network = os.path.join(SOURCE, "tests", "outside", "mynet.onnx")
            random = np.random.default_rng(3)
            save(folder, random.integers(0, 256, (80, 3, 16, 16), dtype=np.uint8), np.arange(80) % 10)
            with self.assertRaises(steadfast.UsageError):
                steadfast.quantize(network, output=network, dataset="npy", data=folder)
            steps = []
            reached = steadfast.quantize(network, output=os.path.join(folder, "a.onnx"), dataset="npy", data=folder,
                                         weight_bits=4, progress=steps.append)
            subprocess.run([PROGRAM, "quantize", network, "--dataset", "npy", "--data", folder, "--weight-bits", "4", "-o",
                            os.path.join(folder, "b.onnx")], check=True, capture_output=True)
            a, b = (steadfast.load(os.path.join(folder, name)) for name in ("a.onnx", "b.onnx"))
            self.assertEqual(a.sha256, b.sha256)
            self.assertEqual(reached["weight_bits"], 4)

    def test_chips_and_fault_models_are_objects(self):
        self.assertEqual(str(steadfast.FaultModel("row")), steadfast.FaultModel("row").name)
        self.assertIn("row", {kind["name"] for kind in steadfast.fault_models()})
        chip = steadfast.Chip("systolic")
        self.assertIn("memories", chip.text)
        images, labels = some_images(16)
        campaign = steadfast.inject(steadfast.load(MODEL), images=images, labels=labels, chip=chip,
                                    fault=steadfast.FaultModel("row"), rate=0.01, trials=2)
        self.assertEqual(len(campaign), 2)


class Watching(unittest.TestCase):
    def test_progress_and_other_threads_go_on(self):
        images, labels = some_images(2000)
        seen, ticks, stop = [], [], threading.Event()

        def tick():
            while not stop.wait(0.01):
                ticks.append(time.monotonic())

        thread = threading.Thread(target=tick)
        thread.start()
        steadfast.inject(steadfast.load(MODEL), images=images, labels=labels, rate=1e-2, trials=400, threads=1,
                         progress=lambda done, total: seen.append((done, total)))
        stop.set()
        thread.join()
        self.assertTrue(seen)
        self.assertTrue(all(total == 400 for _, total in seen))
        self.assertGreater(len(ticks), 5)

    def test_an_error_in_progress_ends_the_work(self):
        images, labels = some_images(2000)
        with tempfile.TemporaryDirectory() as folder:
            def enough(done, total):
                raise LookupError("enough")

            with self.assertRaisesRegex(LookupError, "enough"):
                steadfast.inject(steadfast.load(MODEL), images=images, labels=labels, rate=1e-2, trials=9000,
                                 store=os.path.join(folder, "s.sqlite"), progress=enough)

    def test_ctrl_c_stops_and_a_store_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            images, labels = some_images(2000)
            save(folder, images, labels)
            code = f"""
import steadfast
model = steadfast.load({MODEL!r})
try:
    steadfast.inject(model, dataset="npy", data={folder!r}, rate=1e-2, trials=9000, threads=1,
                     store={os.path.join(folder, "s.sqlite")!r}, progress=lambda done, total: print(done, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
            process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            while int(process.stdout.readline()) == 0:
                pass
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.communicate()[0].strip().split("\n")[-1], "interrupted")
            resumed = steadfast.inject(steadfast.load(MODEL), dataset="npy", data=folder, rate=1e-2, trials=40, extend=True,
                                       store=os.path.join(folder, "t.sqlite"))
            self.assertEqual(resumed.resumed, 0)
            done = steadfast.report(os.path.join(folder, "s.sqlite"))
            self.assertIn("flip", done)


if __name__ == "__main__":
    unittest.main()
