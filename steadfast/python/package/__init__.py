"""Break the memory that holds a quantized network, and measure what it costs.

Names, defaults, errors and numbers are those of the program `steadfast`: the same settings give the same trials. All
arguments but a model and its images are keyword-only. Long calls show progress through a callback, stop at Ctrl-C,
and leave the interpreter's lock to other threads.

>>> import steadfast
>>> model = steadfast.load("models/lenet5-w4a4-as-saq.onnx")
>>> campaign = steadfast.inject(model, rate=[1e-3, 1e-2], trials=20, store="trials.sqlite")
>>> campaign.to_pandas().groupby("rate").accuracy.mean()
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterator, Mapping, Sequence, Union

import numpy as np

from . import _steadfast
from ._steadfast import Error, Fault, InputError, IoError, Model, Parameter, UsageError, __version__

__all__ = [
    "Campaign", "Chip", "Error", "Fault", "FaultModel", "InputError", "IoError", "Model", "Parameter", "Sweep",
    "UsageError", "fault_models", "inject", "iterate", "load", "predict", "quantize", "report", "sample_faults",
    "sweep", "tolerance", "__version__",
]

PathLike = Union[str, "os.PathLike[str]"]
Progress = Callable[[int, int], None]


class FaultModel:
    """Which cells fail, and how: `flip`, `sa0`, `row:flip@weights`, `0.9*flip+0.1*row`, ...

    Raises UsageError for what is none; `fault_models()` lists all kinds with their laws and sources.
    """

    def __init__(self, text: str) -> None:
        self.name: str = _steadfast.check_fault_model(text)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"FaultModel('{self.name}')"


class Chip:
    """In which memories parameters lie: `weights`, `everything`, `systolic`, or a YAML file (docs/formats.md)."""

    def __init__(self, name: PathLike) -> None:
        self.name = os.fspath(name)
        self.text: str = _steadfast.chip_text(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Chip('{self.name}')"


def fault_models() -> list[dict[str, str]]:
    """All kinds of fault models beside independent cells: name, syntax, meaning of the rate, source."""
    return _steadfast.fault_model_kinds()


def load(path: PathLike, *, profile: str | None = None, stored_bits: Mapping[str, int] | None = None) -> Model:
    """Reads a quantized model (ONNX as QDQ, QCDQ, QOperator or QONNX; TFLite).

    profile: whose arithmetic: onnx, ort, xnnpack, litert-builtin, tflm (default: that of the file's form).
    stored_bits: weights by name that are stored in fewer bits than the file has for them.
    Raises InputError naming node and operator for what is not understood, IoError where there is no file.
    """
    return _steadfast.load(os.fspath(path), profile, dict(stored_bits or {}))


def predict(model: Model, images: np.ndarray, *, faults: Sequence[Fault] = (), encoding: str = "twos",
            input_scale: float = 0.0, mean: Sequence[float] = (), std: Sequence[float] = ()) -> np.ndarray:
    """The logits of images, float32 [n, classes], where these faults are in the stored parameters.

    images: uint8 [n, channels, rows, columns], channels last, [n, rows, columns] or [n, features]; or int8 where they are
    codes of an int8 input, or float32 real numbers. Codes of images are those of the fault-free network. Bit for bit
    what every other path of Steadfast gives.
    """
    return _steadfast.predict(model, np.ascontiguousarray(images), list(faults), encoding, input_scale, list(mean),
                              list(std))


def sample_faults(model: Model, *, fault: str | FaultModel = "flip", rate: float, trial: int = 0, seed: int = 1,
                  encoding: str = "twos", where: str | None = None, chip: str | Chip | None = None,
                  word_bits: int | None = None) -> list[Fault]:
    """The faults of one trial: those that `inject` draws with the same settings (of transient models, those that all
    images share).

    rate: faults per bit, 0 to 1. where: what can fail (default: weights; with a chip, all parameters and buffers).
    """
    return _steadfast.sample_faults(model, str(fault), rate, trial, seed, encoding, where or "", _text(chip) or "",
                                    word_bits)


class _Table:
    """Rows as a structured NumPy array."""

    def __init__(self, rows: np.ndarray, text: str) -> None:
        self._rows = rows
        self.text = text

    def to_pandas(self) -> Any:
        """The rows as a pandas.DataFrame."""
        import pandas

        return pandas.DataFrame({name: self._rows[name] for name in self._rows.dtype.names})

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[np.void]:
        return iter(self._rows)

    def __str__(self) -> str:
        return self.text


class Campaign(_Table):
    """Trials of `inject`.

    trials: structured array with id, model, fault, encoding, rate, trial, faulty_bits, changed_codes, images, correct,
    accuracy (a share), changed, broken, repaired: the columns of inject's CSV (docs/formats.md).
    summary: inject's JSON. text: its tables. resumed: trials that were in the store before.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(_rows(given["trials"]), given["text"])
        self.trials = self._rows
        self.summary: dict[str, Any] = given["summary"]
        self.resumed: int = given["resumed"]


class Sweep(_Table):
    """Single-bit faults of `sweep`.

    faults: structured array with tensor, index, bit, kind, active, correct, accuracy (a share), changed, broken,
    repaired. text: sweep's tables. clean_accuracy: without faults.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(_rows(given["faults"]), given["text"])
        self.faults = self._rows
        self.clean_accuracy: float = given["clean_accuracy"]
        self.images: int = given["images"]


def inject(models: Model | Sequence[Model], *, images: np.ndarray | None = None, labels: np.ndarray | None = None,
           dataset: str | None = None, data: PathLike | None = None, count: int = 0,
           fault: str | FaultModel | Sequence[str | FaultModel] = "flip",
           rate: float | Sequence[float] = (1e-3, 1e-2), trials: int = 100, until: float | None = None, seed: int = 1,
           encoding: str | Sequence[str] = "twos", where: str | None = None, chip: str | Chip | None = None,
           word_bits: int | None = None, fault_list: PathLike | Sequence[Sequence[Fault]] | None = None,
           store: PathLike | None = None, extend: bool = False, threads: int = 0, memory: int = 2048,
           floor: float | None = None, input_scale: float = 0.0, mean: Sequence[float] = (),
           std: Sequence[float] = (), progress: Progress | None = None) -> Campaign:
    """Breaks the memory that holds a model's parameters, and measures what it costs: `steadfast inject`.

    images, labels: arrays, as `predict` has them and [n] classes; or dataset: a data set by name (default: the one
    that the model names), in the folder data; count: the first so many images (0: all).
    until: trials end where the mean accuracy is known within so many points (trials are then the most).
    chip, word_bits: where parameters lie; without a chip, in words of 32 bits. A chip that says how codes are stored
    decides encoding.
    fault_list: a CSV or JSON file, or for each trial a list of Fault; instead of fault, rate, trials and seed.
    store: an SQLite file that keeps every trial; the same call resumes from it. Without it nothing is kept.
    memory: MiB for what is kept of the fault-free run. floor: accuracy in percent below which a trial is critical.
    progress: called with (trials done, trials in all). Ctrl-C stops cleanly; finished trials are in the store.
    """
    listed = fault_list
    if listed is not None and not isinstance(listed, (str, os.PathLike)):
        listed = [list(trial) for trial in listed]
    return Campaign(_steadfast.inject(
        _models(models), images=_bytes(images), labels=labels, dataset=dataset,
        data=data, count=count, fault=[str(one) for one in _several(fault)], rate=[float(r) for r in _several(rate)],
        trials=trials, until=until, seed=seed, encoding=list(_several(encoding)), where=where, chip=_text(chip),
        word_bits=word_bits, fault_list=listed, store=store, extend=extend, threads=threads, memory=memory, floor=floor,
        input_scale=input_scale, mean=list(mean), std=list(std), progress=progress))


def iterate(model: Model, *, trials: int, group: int = 16, **settings: Any) -> Iterator[np.void]:
    """The trials of `inject`, one after the other as they are finished, in groups; stop when you have seen enough.

    Takes what `inject` takes, and one fault, rate and encoding. The same trials as those of one call with all of them.
    """
    import tempfile

    for name in ("fault", "rate", "encoding"):
        if len(_several(settings.get(name, "" if name != "rate" else ()))) != 1:
            raise UsageError(f"{name}: iterate takes exactly one")
    with tempfile.TemporaryDirectory() as folder:
        settings.setdefault("store", os.path.join(folder, "trials.sqlite"))
        done = 0
        while done < trials:
            until = min(trials, done + group)
            campaign = inject(model, trials=until, extend=True, **settings)
            yield from campaign.trials[done:until]
            done = until


def sweep(model: Model, *, images: np.ndarray | None = None, labels: np.ndarray | None = None,
          dataset: str | None = None, data: PathLike | None = None, count: int = 0, fault: str = "flip",
          layer: str | None = None, sample: float = 1.0, faults: int = 0, seed: int = 1, encoding: str = "twos",
          where: str | None = None, chip: str | Chip | None = None, word_bits: int | None = None,
          decisions_only: bool = False, top: int = 10, store: PathLike | None = None, threads: int = 0,
          memory: int = 2048, input_scale: float = 0.0, mean: Sequence[float] = (), std: Sequence[float] = (),
          progress: Progress | None = None) -> Sweep:
    """Every single-bit fault of a model's memory, exactly: `steadfast sweep`.

    fault: flip, sa0, sa1, or all. layer: only these, comma-separated. sample: only this share, stratified. faults:
    only about so many, drawn by chance. Data, store and progress as `inject` has them.
    """
    return Sweep(_steadfast.sweep(
        model, images=_bytes(images), labels=labels, dataset=dataset, data=data, count=count, fault=str(fault), layer=layer,
        sample=sample, faults=faults, seed=seed, encoding=[encoding], where=where, chip=_text(chip), word_bits=word_bits,
        decisions_only=decisions_only, top=top, store=store, threads=threads, memory=memory, input_scale=input_scale,
        mean=list(mean), std=list(std), progress=progress))


def tolerance(model: Model, *, floor: float, yield_: float = 0.99, confidence: float = 0.95,
              images: np.ndarray | None = None, labels: np.ndarray | None = None, dataset: str | None = None,
              data: PathLike | None = None, count: int = 0, fault: str | FaultModel = "flip", lowest: float = 1e-6,
              highest: float = 0.1, per_decade: int = 10, chips: int = 0, seed: int = 1, encoding: str = "twos",
              where: str | None = None, chip: str | Chip | None = None, word_bits: int | None = None,
              store: PathLike | None = None, threads: int = 0, memory: int = 2048, input_scale: float = 0.0,
              mean: Sequence[float] = (), std: Sequence[float] = (),
              progress: Progress | None = None) -> dict[str, Any]:
    """Up to which fault rate accuracy stays above a floor: `steadfast tolerance`.

    floor: accuracy in percent. yield_: the share of chips that shall hold it. lowest, highest: rates between which it is
    searched, per_decade in each factor of ten. chips: at each rate at most (0: so many that two may fail).
    Returns clean_accuracy, mean and yield, each with rate (None: not even the lowest), confidence_each and every rate
    that was tried (docs/formats.md). Data, store and progress as `inject` has them.
    """
    return _steadfast.tolerance(
        model, floor=floor, yield_=yield_, confidence=confidence, images=_bytes(images), labels=labels, dataset=dataset,
        data=data, count=count, fault=str(fault), lowest=lowest, highest=highest, per_decade=per_decade, chips=chips,
        seed=seed, encoding=[encoding], where=where, chip=_text(chip), word_bits=word_bits, store=store, threads=threads,
        memory=memory, input_scale=input_scale, mean=list(mean), std=list(std), progress=progress)


def quantize(network: PathLike, *, output: PathLike, dataset: str, data: PathLike | None = None,
             mean: Sequence[float] = (), std: Sequence[float] = (), weight_bits: int = 8, activation_bits: int = 8,
             per_tensor: bool = False, signed: bool = False, calibration: str = "minmax", percentile: float = 99.99,
             calibration_images: int = 512, float_images: int = 1000, threads: int = 0, force: bool = False,
             progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Quantizes a trained float ONNX network without training it further, and writes it: `steadfast quantize`.

    mean, std: of the input, (byte / 255 - mean) / std. calibration: minmax, percentile or mse. progress: called with
    what is being done. Returns the accuracies reached.
    """
    return _steadfast.quantize(
        network=os.fspath(network), output=output, dataset=dataset, data=data, mean=list(mean), std=list(std),
        weight_bits=weight_bits, activation_bits=activation_bits, per_tensor=per_tensor, signed=signed,
        calibration=calibration, percentile=percentile, calibration_images=calibration_images,
        float_images=float_images, threads=threads, force=force, progress=progress)


def report(stores: PathLike | Sequence[PathLike], *, output: PathLike | None = None) -> str | None:
    """What stores found: as text, or with output as one HTML page: `steadfast report`."""
    paths = [stores] if isinstance(stores, (str, os.PathLike)) else list(stores)
    return _steadfast.report(paths, output)


def _models(models: Any) -> list[Model]:
    several = [models] if isinstance(models, Model) else list(models)
    for model in several:
        if not isinstance(model, Model):
            raise UsageError(f"models: {model!r} is no Model; load it first: steadfast.load(path)")
    return several


def _several(given: Any) -> Sequence[Any]:
    return [given] if isinstance(given, (str, FaultModel)) or np.ndim(given) == 0 else list(given)


def _text(chip: Any) -> str | None:
    return None if chip is None else str(chip)


def _bytes(images: np.ndarray | None) -> np.ndarray | None:
    return None if images is None else np.ascontiguousarray(images)


def _rows(columns: Mapping[str, list[Any]]) -> np.ndarray:
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    length = len(next(iter(arrays.values())))
    rows = np.empty(length, dtype=[(name, array.dtype) for name, array in arrays.items()])
    for name, array in arrays.items():
        rows[name] = array
    return rows
