"""A fitted aligner on disk: `aligner.safetensors`, which is the whole of it, and a readable copy in `config.json`.

Numbers and JSON only: loading runs no code, allocates at most a few times the file's size, and believes nothing it
can check (promise P6). The file is replaced in one step, so a crash leaves the old one or the new one.

Layout of `aligner.safetensors`: metadata ``{"config": JSON}``; for modality i in alphabetical order
``modality.i.counts`` (2,) rows and zero rows, ``.sums`` and ``.squares`` (2, n_dims), ``.norms`` (256,); for pair i
``pair.i.counts``, ``.sums``, ``.squares``. All int64. With ``noise="residual"`` each pair also has ``.products``, the
upper triangle of the products of columns row by row, (n_dims * (n_dims + 1) / 2,) float64; the configuration says so
under "pair_products", and the format's version is 2.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from c3align._settings import check_modality_name, check_settings
from c3align.covariance import PairCovariance
from c3align.errors import C3AlignError, FormatError, MissingExtraError
from c3align.ops import NORM_BINS
from c3align.statistics import ModalityStatistics, PairStatistics

if TYPE_CHECKING:
    from c3align.aligner import C3Aligner

__all__ = ["ALIGNER_FILE", "CONFIG_FILE", "NUMERICS", "load", "save"]

ALIGNER_FILE, CONFIG_FILE = "aligner.safetensors", "config.json"
FORMAT = "c3align.C3Aligner"
FORMAT_VERSION, WITH_PRODUCTS = 1, 2  # an aligner without products is written as ever
PAIR_PRODUCTS = "upper triangle, float64"
NUMERICS = 2  # raised with every change of any bit of a result; see "Numerics" in the changelog
MAX_DIMS, MAX_MODALITIES = 1 << 16, 64
MAX_HEADER_BYTES = 1 << 20
_CONFIG_KEYS = {
    "format",
    "format_version",
    "numerics",
    "settings",
    "n_features_in",
    "feature_names_in",
    "modalities",
    "pairs",
    "encoder_fingerprint",
}
_MODALITY_PARTS = ("counts", "sums", "squares", "norms")
_PAIR_PARTS = ("counts", "sums", "squares")


def save(aligner: C3Aligner, folder: str | os.PathLike[str]) -> None:
    """Write a fitted aligner into `folder`, made when absent; the same state gives the same bytes.

    Raises
    ------
    C3AlignError
        When `folder` is a file.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise C3AlignError(f"{target} is a file; pass the name of a folder")
    target.mkdir(parents=True, exist_ok=True)
    config = _config(aligner)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    metadata = {"config": json.dumps(config, sort_keys=True)}
    _replace(target / ALIGNER_FILE, safetensors.numpy.save(_tensors(aligner), metadata))
    _replace(target / CONFIG_FILE, text.encode())


def _config(aligner: C3Aligner) -> dict[str, Any]:
    names = getattr(aligner, "feature_names_in_", None)
    settings = {name: _plain(value) for name, value in aligner.get_params(deep=False).items()}
    shape = {"pair_products": PAIR_PRODUCTS} if aligner.covariances_ else {}
    return {
        "format": FORMAT,
        "format_version": WITH_PRODUCTS if shape else FORMAT_VERSION,
        "numerics": NUMERICS,
        "settings": settings,
        "n_features_in": int(aligner.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "modalities": list(aligner.statistics_),
        "pairs": [list(names) for names in aligner.pairs_],
        "encoder_fingerprint": aligner.encoder_fingerprint_,
        **shape,
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _tensors(aligner: C3Aligner) -> dict[str, np.ndarray[Any, Any]]:
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    groups = [("modality", aligner.statistics_.values()), ("pair", aligner.pairs_.values())]
    for kind, found in groups:
        for i, statistics in enumerate(found):
            tensors[f"{kind}.{i}.counts"] = np.array([statistics.n_rows, statistics.n_zero_rows], np.int64)
            tensors[f"{kind}.{i}.sums"] = statistics.sums
            tensors[f"{kind}.{i}.squares"] = statistics.squares
            if isinstance(statistics, ModalityStatistics):
                tensors[f"{kind}.{i}.norms"] = statistics.norms
    for i, names in enumerate(aligner.pairs_):
        if names in aligner.covariances_:
            tensors[f"pair.{i}.products"] = aligner.covariances_[names].packed()
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, force it to disk, and rename over it: all of it or nothing."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load(cls: type[C3Aligner], folder_or_hub_id: str | os.PathLike[str]) -> C3Aligner:
    """Read an aligner that `save` wrote; see `C3Aligner.from_pretrained`."""
    folder = _folder(folder_or_hub_id)
    config, tensors = _read(folder / ALIGNER_FILE)
    _check_copy(folder / CONFIG_FILE, config)
    try:
        aligner = cls(**config["settings"])
        check_settings(aligner)
    except (TypeError, C3AlignError) as error:
        raise _refusal(f"its settings do not fit ({error})") from error
    aligner.statistics_ = {
        name: _statistics(ModalityStatistics, tensors, f"modality.{i}") for i, name in enumerate(config["modalities"])
    }
    aligner.pairs_ = {
        (a, b): _statistics(PairStatistics, tensors, f"pair.{i}") for i, (a, b) in enumerate(config["pairs"])
    }
    aligner.covariances_ = {}
    if "pair_products" in config:
        for i, (names, found) in enumerate(aligner.pairs_.items()):
            aligner.covariances_[names] = _covariance(found, tensors, f"pair.{i}")
    aligner.n_features_in_ = config["n_features_in"]
    if config["feature_names_in"] is not None:
        aligner.feature_names_in_ = np.array(config["feature_names_in"], dtype=object)
    aligner.encoder_fingerprint_ = config["encoder_fingerprint"]
    return aligner


def _refusal(reason: str) -> FormatError:
    return FormatError(f"not a whole c3align aligner: {reason}; save it again from its source")


def _folder(folder_or_hub_id: str | os.PathLike[str]) -> Path:
    path = Path(folder_or_hub_id)
    if path.exists():
        return path
    owner, slash, name = str(folder_or_hub_id).partition("/")
    if not (slash and owner and name and "/" not in name and owner not in (".", "..", "~")):
        raise FileNotFoundError(f"no folder {path}; pass one that save_pretrained wrote, or a Hub id 'owner/name'")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            f"no folder {path}, and the Hub needs huggingface_hub; pip install huggingface_hub, or mend the path"
        ) from error
    return Path(snapshot_download(str(folder_or_hub_id), allow_patterns=[ALIGNER_FILE, CONFIG_FILE]))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Configuration and tensors, both checked in kind, number, shape and dtype; values are checked later."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent; pass a folder that save_pretrained wrote")
    config = _checked_config(_header_config(path))
    expected = _expected_shapes(config)
    payload = 8 * sum(int(np.prod(shape)) for shape in expected.values())
    if path.stat().st_size > payload + MAX_HEADER_BYTES + 8:
        raise _refusal(f"the file is larger than its {len(config['modalities'])} modalities need")
    try:
        tensors = safetensors.numpy.load(path.read_bytes())
    except Exception as error:  # the library's own kinds, and KeyError for dtypes NumPy lacks
        raise _refusal(f"its tensors cannot be read ({error})") from error
    for name in sorted(set(tensors) ^ set(expected)):
        raise _refusal(f"unknown tensor {name!r}" if name in tensors else f"tensor {name!r} is missing")
    for name, shape in expected.items():
        dtype, found = np.dtype("float64" if name.endswith(".products") else "int64"), tensors[name]
        if found.dtype != dtype or found.shape != shape:
            raise _refusal(f"tensor {name!r} is {found.dtype} {found.shape} and not {dtype} {shape}")
    return config, tensors


def _header_config(path: Path) -> Any:
    """The JSON in the file's metadata, read without trusting the length that the file states."""
    with path.open("rb") as file:
        stated = int.from_bytes(file.read(8), "little")
        if not 2 <= stated <= min(MAX_HEADER_BYTES, path.stat().st_size - 8):
            raise _refusal(f"it states a header of {stated} bytes in a file of {path.stat().st_size}")
        header = file.read(stated)
    document = _parse(header, "its header")
    metadata = document.get("__metadata__") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {"config"} or not isinstance(metadata["config"], str):
        raise _refusal("its metadata do not hold a configuration and nothing else")
    return _parse(metadata["config"].encode(), "its configuration")


def _parse(text: bytes, what: str) -> Any:
    def refuse(value: Any) -> Any:
        raise ValueError(f"{value} is not allowed")

    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in items}) < len(items):
            raise ValueError("a key stands there twice")
        return dict(items)

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"{what} is not JSON ({error})") from error


def _checked_config(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise _refusal(f"its configuration is a {type(config).__name__}")
    form, version = config.get("format"), config.get("format_version")
    if form != FORMAT or type(version) is not int or version not in (FORMAT_VERSION, WITH_PRODUCTS):
        raise _refusal(f"format {form!r} version {version!r} is unknown")
    keys = _CONFIG_KEYS | {"pair_products"} if version == WITH_PRODUCTS else _CONFIG_KEYS
    if set(config) != keys:
        raise _refusal(f"its configuration has unknown or missing keys ({sorted(set(config) ^ keys)})")
    if version == WITH_PRODUCTS and (config["pair_products"] != PAIR_PRODUCTS or not config["pairs"]):
        raise _refusal(f"products of pairs as {config['pair_products']!r}, for pairs {config['pairs']!r}")
    if config["numerics"] != NUMERICS:
        raise FormatError(
            f"the aligner was fitted under numerics {config['numerics']!r} and this c3align computes under {NUMERICS}; "
            "fit it again, or install the c3align that wrote it"
        )
    _check_names(config)
    return config


def _check_names(config: dict[str, Any]) -> None:
    n_dims, names, pairs = config["n_features_in"], config["modalities"], config["pairs"]
    if type(n_dims) is not int or not 1 <= n_dims <= MAX_DIMS:
        raise _refusal(f"a dimension of {n_dims!r}")
    if not isinstance(config["settings"], dict):
        raise _refusal("its settings are not a table")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_MODALITIES:
        raise _refusal("its modalities are not a short list of names")
    try:
        for name in names:
            check_modality_name(name)
    except C3AlignError as error:
        raise _refusal(str(error)) from error
    possible = [[a, b] for i, a in enumerate(names) for b in names[i + 1 :]]
    in_order = isinstance(pairs, list) and pairs == [pair for pair in possible if pair in pairs]
    if sorted(set(names)) != names or not in_order:
        raise _refusal("its modalities or pairs are not in order")
    features, fingerprint = config["feature_names_in"], config["encoder_fingerprint"]
    if features is not None and not (_are_strings(features) and len(features) == n_dims):
        raise _refusal("its feature names do not fit its dimension")
    if fingerprint is not None and not (isinstance(fingerprint, str) and fingerprint):
        raise _refusal("its encoder fingerprint is not a text")


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _expected_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    n_dims = config["n_features_in"]
    shapes = {"counts": (2,), "sums": (2, n_dims), "squares": (2, n_dims), "norms": (NORM_BINS,)}
    modalities = {f"modality.{i}.{p}": shapes[p] for i in range(len(config["modalities"])) for p in _MODALITY_PARTS}
    pairs = {f"pair.{i}.{part}": shapes[part] for i in range(len(config["pairs"])) for part in _PAIR_PARTS}
    if "pair_products" in config:
        pairs.update({f"pair.{i}.products": (n_dims * (n_dims + 1) // 2,) for i in range(len(config["pairs"]))})
    return {**modalities, **pairs}


def _statistics(kind: Any, tensors: dict[str, np.ndarray[Any, Any]], prefix: str) -> Any:
    parts = _MODALITY_PARTS if kind is ModalityStatistics else _PAIR_PARTS
    counts, *sums = (tensors[f"{prefix}.{part}"].copy() for part in parts)
    found = kind(int(counts[0]), int(counts[1]), *sums)
    problem = found.problem()
    if problem:
        raise _refusal(f"in {prefix!r} {problem}")
    return found


def _covariance(pairs: PairStatistics, tensors: dict[str, np.ndarray[Any, Any]], prefix: str) -> PairCovariance:
    found = PairCovariance.from_packed(pairs, tensors[f"{prefix}.products"])
    problem = found.problem()
    if problem:
        raise _refusal(f"in {prefix!r} {problem}")
    return found


def _check_copy(path: Path, config: dict[str, Any]) -> None:
    """`config.json` may be absent; when it is there it must say what the aligner's own configuration says."""
    if not path.is_file():
        return
    if path.stat().st_size > MAX_HEADER_BYTES:
        raise _refusal(f"{CONFIG_FILE} is larger than {MAX_HEADER_BYTES} bytes")
    if _parse(path.read_bytes(), CONFIG_FILE) != config:
        raise FormatError(
            f"{CONFIG_FILE} differs from the configuration inside {ALIGNER_FILE}, which is the one that counts; "
            f"delete {CONFIG_FILE} to load that, or set parameters in code and save again"
        )
