"""A fitted aligner on disk: `aligner.safetensors`, which is complete, and a readable copy of its configuration.

Numbers and JSON only: loading runs no code, allocates at most a few times the file's size, and trusts nothing it can
check (promise P6). The file is replaced in one step, so a crash leaves the old one or the new one.

Layout of `aligner.safetensors`: metadata ``{"config": JSON}``; for modality i in alphabetical order
``modality.i.counts`` (2,) rows and zero rows, ``.sums`` and ``.squares`` (2, n_dims), ``.norms`` (256,); for pair i
``pair.i.counts``, ``.sums``, ``.squares``. All int64. Where the configuration says so ("modality_products",
"pair_products") also ``.products``, the upper triangle of the products of columns row by row, float64. Last ``sha256``,
the digest of all bytes before it; format 3 is the same without.
"""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from c3align._settings import NAMES, check_modality_name, check_settings
from c3align._state import State
from c3align.covariance import CovarianceStatistics, PairCovariance
from c3align.errors import C3AlignError, FormatError, MissingExtraError
from c3align.io import atomic, container
from c3align.io.container import CONFIG_FILE
from c3align.ops import NORM_BINS
from c3align.statistics import ModalityStatistics, PairStatistics

__all__ = ["ALIGNER_FILE", "CONFIG_FILE", "NUMERICS", "dump", "load", "parse", "save"]

ALIGNER_FILE = "aligner.safetensors"
FORMAT, FORMAT_VERSION = "c3align.C3Aligner", 4
UNSIGNED_VERSION = 3  # the same without a digest
PRODUCTS = "upper triangle, float64"
NUMERICS = 3  # raised with every change of any bit of a result; see "Numerics" in the changelog
MAX_DIMS, MAX_MODALITIES = 1 << 16, 64
MAX_HEADER_BYTES = 1 << 20
_CONFIG_KEYS = {
    "format",
    "format_version",
    "numerics",
    "settings",
    "n_features_in",
    "feature_names",
    "modalities",
    "pairs",
    "encoder_fingerprint",
    "modality_products",
    "pair_products",
}
_MODALITY_PARTS, _PAIR_PARTS = ("counts", "sums", "squares", "norms"), ("counts", "sums", "squares")


def dump(settings: Mapping[str, Any], state: State) -> bytes:
    """Serialize a fitted aligner.

    Parameters
    ----------
    settings : mapping of str to any
        The aligner's parameters.
    state : State
        What it learned.

    Returns
    -------
    bytes
        Those of its file, the same for the same input; `C3AlignError` if `parse` would refuse them.
    """
    return _dumped(settings, state)[0]


def _dumped(settings: Mapping[str, Any], state: State) -> tuple[bytes, dict[str, Any]]:
    """The bytes, verified by reading them back, and the configuration in them."""
    check_settings(settings)
    config = _config(settings, state)
    content = container.dump(_tensors(state), config)
    try:
        parse(content)
        copy = container.readable(config, content)
        read = container.parse_json(copy, "aligner", CONFIG_FILE)
        if len(copy) > MAX_HEADER_BYTES or not read.items() >= config.items():
            raise _refusal("its names are too long, or hold unpaired surrogates")
    except FormatError as error:
        reason = str(error).partition(": ")[2].partition("; save it")[0] or str(error)
        raise C3AlignError(f"this aligner cannot be saved: {reason}; fit it again within these limits") from error
    return content, config


def save(settings: Mapping[str, Any], state: State, folder: str | os.PathLike[str]) -> None:
    """Write a fitted aligner: the bytes of `dump`, and a readable copy of the configuration beside them.

    Parameters
    ----------
    settings : mapping of str to any
        The aligner's parameters.
    state : State
        What it learned.
    folder : str or path
        Created if it does not exist. `C3AlignError` if it is a file or a URL or holds the config.json of something
        else, and if `load` would refuse the aligner; nothing is written then.
    """
    content, config = _dumped(settings, state)
    container.write_folder(folder, ALIGNER_FILE, content, config)


def _config(settings: Mapping[str, Any], state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "numerics": NUMERICS,
        "settings": {name: _plain(settings[name]) for name in NAMES},
        "n_features_in": int(state.n_dims),
        "feature_names": [[name, list(columns)] for name, columns in state.feature_names.items()],
        "modalities": list(state.statistics),
        "pairs": [list(names) for names in state.pairs],
        "encoder_fingerprint": state.fingerprint,
        "modality_products": PRODUCTS if state.second_moments else None,
        "pair_products": PRODUCTS if state.covariances else None,
    }


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) and not isinstance(value, np.longdouble) else value
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, int) else value


def _tensors(state: State) -> dict[str, np.ndarray[Any, Any]]:
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    groups: list[tuple[str, Any, Any]] = [
        ("modality", state.statistics, state.second_moments),
        ("pair", state.pairs, state.covariances),
    ]
    for kind, statistics, products in groups:
        for i, (key, found) in enumerate(statistics.items()):
            tensors[f"{kind}.{i}.counts"] = np.array([found.n_rows, found.n_zero_rows], np.int64)
            tensors[f"{kind}.{i}.sums"] = found.sums
            tensors[f"{kind}.{i}.squares"] = found.squares
            if kind == "modality":
                tensors[f"{kind}.{i}.norms"] = found.norms
            if key in products:
                tensors[f"{kind}.{i}.products"] = products[key].packed()
    return tensors


def load(folder_or_hub_id: str | os.PathLike[str]) -> tuple[dict[str, Any], State]:
    """Load an aligner that `save` wrote; raises as `C3Aligner.from_pretrained`.

    Parameters
    ----------
    folder_or_hub_id : str or path
        A folder if it exists, else "owner/name" on the Hugging Face Hub.

    Returns
    -------
    settings : dict
        The aligner's parameters.
    state : State
        What it learned.
    """
    folder = _folder(folder_or_hub_id)
    path = folder / ALIGNER_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent; pass a folder that save_pretrained wrote")
    _check_size(path)
    return container.read_folder(folder, ALIGNER_FILE, "aligner", _parsed)


def _check_size(path: Path) -> None:
    """Refuse a file that is too large for the configuration at its start, before reading it."""
    config = _checked_config(container.read_config(path, "aligner", MAX_HEADER_BYTES))
    payload = 8 * sum(int(np.prod(shape)) for _, shape in _expected(config).values())
    if path.stat().st_size > payload + MAX_HEADER_BYTES + 8:
        raise _refusal(f"the file is larger than its {len(config['modalities'])} modalities need")


def parse(content: bytes) -> tuple[dict[str, Any], State]:
    """Load what `dump` returned, checking kinds, numbers, shapes, dtypes and values.

    Parameters
    ----------
    content : bytes
        What `dump` returned; `FormatError` for anything else.

    Returns
    -------
    settings : dict
        The aligner's parameters.
    state : State
        What it learned.
    """
    if not isinstance(content, bytes | bytearray):
        raise FormatError(f"an aligner must be bytes, got {type(content).__name__}; pass what to_bytes() returned")
    return _parsed(bytes(content))[1]


def _parsed(content: bytes) -> tuple[dict[str, Any], tuple[dict[str, Any], State]]:
    """The configuration, and what `parse` returns."""
    config = _checked_config(
        container.parse_config(content[: MAX_HEADER_BYTES + 8], len(content), "aligner", MAX_HEADER_BYTES)
    )
    container.check_digest(content, "aligner", is_old=config["format_version"] == UNSIGNED_VERSION)
    tensors = container.parse_tensors(content, "aligner")
    container.check_tensors(tensors, _expected(config), "aligner")
    del content
    try:
        check_settings(config["settings"])
    except C3AlignError as error:
        raise _refusal(f"its settings do not fit ({error})") from error
    statistics, second = _group(ModalityStatistics, CovarianceStatistics, config["modalities"], tensors, "modality")
    names = [(a, b) for a, b in config["pairs"]]
    pairs, covariances = _group(PairStatistics, PairCovariance, names, tensors, "pair")
    for (a, b), found in pairs.items():
        if found.n_rows > min(statistics[a].n_rows, statistics[b].n_rows):
            raise _refusal(f"it has more pairs of {a!r} and {b!r} than rows")
    columns = {name: tuple(found) for name, found in config["feature_names"]}
    n_dims, fingerprint = config["n_features_in"], config["encoder_fingerprint"]
    state = State(n_dims, statistics, pairs, second, covariances, fingerprint, columns)
    return config, (config["settings"], state)


def _group(
    kind: Any, shaped: Any, keys: list[Any], tensors: dict[str, np.ndarray[Any, Any]], prefix: str
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Statistics by key, and those with products where the file has them."""
    places = {key: f"{prefix}.{i}" for i, key in enumerate(keys)}
    plain = {key: _statistics(kind, tensors, place) for key, place in places.items()}
    packed = {key: tensors.get(f"{place}.products") for key, place in places.items()}
    whole = {key: shaped.from_packed(plain[key], part) for key, part in packed.items() if part is not None}
    return plain, {key: _checked(found, places[key]) for key, found in whole.items()}


def _refusal(reason: str) -> FormatError:
    return container.refusal("aligner", reason)


def _folder(folder_or_hub_id: str | os.PathLike[str]) -> Path:
    owner, slash, name = str(folder_or_hub_id).partition("/")
    path = atomic.local_path(folder_or_hub_id)
    if path.exists():
        return path
    if not (slash and owner and name and "/" not in name and owner not in (".", "..", "~")):
        raise FileNotFoundError(f"no folder {path}; pass one that save_pretrained wrote, or a Hub id 'owner/name'")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            f"no folder {path}, and the Hub needs huggingface_hub; pip install huggingface_hub, or correct the path"
        ) from error
    try:
        return Path(snapshot_download(str(folder_or_hub_id), allow_patterns=[ALIGNER_FILE, CONFIG_FILE]))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FileNotFoundError(f"no folder {path}, and the Hub says: {reason}; check the name") from error


def _checked_config(config: Any) -> dict[str, Any]:
    form, version = config.get("format"), config.get("format_version")
    if form != FORMAT or type(version) is not int or version < 1:
        raise _refusal(f"format {form!r} version {version!r} is unknown")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"the aligner has format version {version} and this c3align reads up to {FORMAT_VERSION}; upgrade c3align"
        )
    if config.get("numerics") != NUMERICS or version < UNSIGNED_VERSION:
        raise FormatError(
            f"the aligner was fitted under numerics {config.get('numerics')!r} (format {version}) and this c3align "
            f"computes under {NUMERICS}; fit it again, or install the c3align that wrote it"
        )
    if set(config) != _CONFIG_KEYS:
        raise _refusal(f"its configuration has unknown or missing keys ({sorted(set(config) ^ _CONFIG_KEYS)})")
    for key, needed in (("modality_products", "modalities"), ("pair_products", "pairs")):
        if config[key] is not None and (config[key] != PRODUCTS or not config[needed]):
            raise _refusal(f"{key} are given as {config[key]!r}, for {needed} {config[needed]!r}")
    _check_names(config)
    return config


def _check_names(config: dict[str, Any]) -> None:
    n_dims, names, pairs = config["n_features_in"], config["modalities"], config["pairs"]
    if type(n_dims) is not int or not 1 <= n_dims <= MAX_DIMS:
        raise _refusal(f"a dimension of {n_dims!r}")
    if not isinstance(config["settings"], dict) or set(config["settings"]) != set(NAMES):
        raise _refusal(f"its settings are not a table of {', '.join(NAMES)}")
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
    _check_columns(config["feature_names"], names, n_dims)
    fingerprint = config["encoder_fingerprint"]
    if fingerprint is not None and not (isinstance(fingerprint, str) and fingerprint):
        raise _refusal("its encoder fingerprint is not a string")


def _check_columns(found: Any, names: list[str], n_dims: int) -> None:
    """Column names are a list of [modality, names], at most one per modality."""
    whole = isinstance(found, list) and all(isinstance(part, list) and len(part) == 2 for part in found)
    if not whole or not all(_are_strings(columns) and len(columns) == n_dims for _, columns in found):
        raise _refusal("its feature names do not fit its dimension")
    owners = [name for name, _ in found]
    if not _are_strings(owners) or len(set(owners)) < len(owners) or not set(owners) <= set(names):
        raise _refusal("its feature names do not fit its modalities")


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _expected(config: dict[str, Any]) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Dtype and shape of each tensor, by name."""
    n_dims = config["n_features_in"]
    shapes = {"counts": (2,), "sums": (2, n_dims), "squares": (2, n_dims), "norms": (NORM_BINS,)}
    groups = (
        ("modality", config["modalities"], _MODALITY_PARTS, config["modality_products"]),
        ("pair", config["pairs"], _PAIR_PARTS, config["pair_products"]),
    )
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {}
    for kind, members, parts, products in groups:
        for i in range(len(members)):
            expected |= {f"{kind}.{i}.{part}": (np.dtype("int64"), shapes[part]) for part in parts}
            if products:
                expected[f"{kind}.{i}.products"] = (np.dtype("float64"), (n_dims * (n_dims + 1) // 2,))
    return expected


def _statistics(kind: Any, tensors: dict[str, np.ndarray[Any, Any]], prefix: str) -> Any:
    parts = _MODALITY_PARTS if kind is ModalityStatistics else _PAIR_PARTS
    counts, *sums = (tensors[f"{prefix}.{part}"].copy() for part in parts)
    found = kind(int(counts[0]), int(counts[1]), *sums)
    return _checked(found, prefix)


def _checked(found: Any, place: str) -> Any:
    problem = found.problem()
    if problem:
        raise _refusal(f"in {place!r} {problem}")
    return found
