"""A fitted aligner on disk: `aligner.safetensors`, which is complete, and a readable copy of its configuration.

Numbers and JSON only: loading runs no code, allocates at most a few times the file's size, and trusts nothing it can
check (promise P6). The file is replaced in one step, so a crash leaves the old one or the new one.

Layout of `aligner.safetensors`: metadata ``{"config": JSON}``, the tensors of `c3align._state_tensors`, and last
``sha256``, the digest of all bytes before it. Format 4 has no samples, sketches or products across; format 3 is the
same without a digest.
"""

from __future__ import annotations

import math
import numbers
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from c3align import _state_tensors, mappings, noise
from c3align._arguments import checked
from c3align._settings import NAMES, check_modality_name, check_settings
from c3align._state import State
from c3align._state_tensors import COVARIANCES, MOST_SAMPLED, PRODUCTS, refusal
from c3align.covariance import Precision
from c3align.errors import C3AlignError, FormatError
from c3align.io import container, hub
from c3align.io.container import CONFIG_FILE
from c3align.sample import MOST_LINKS

__all__ = ["ALIGNER_FILE", "CONFIG_FILE", "NUMERICS", "dump", "load", "parse", "save"]

_Aligner = TypeVar("_Aligner")

ALIGNER_FILE = "aligner.safetensors"
FORMAT, FORMAT_VERSION = "c3align.C3Aligner", 5
UNSIGNED_VERSION, SIGNED_VERSION = 3, 4  # the second is still written where there is nothing that it lacks
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
_SINCE_5 = {"across", "sketches", "samples"}


@checked
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
    return _dumped(settings, state, "float64")[0]


def _dumped(settings: Mapping[str, Any], state: State, dtype: Precision) -> tuple[bytes, dict[str, Any]]:
    """The bytes, verified by reading them back, and the configuration in them."""
    check_settings(settings)
    if lost := ", ".join(sorted(settings.keys() - {*NAMES})):
        warnings.warn(f"a subclass's own parameters are not saved: {lost}; set them after loading", stacklevel=5)
    config = _config(settings, state, dtype)
    content = container.dump(_state_tensors.tensors(state, dtype), config)
    try:
        parse(content)
        copy = container.readable(config, content)
        read = container.parse_json(copy, "aligner", CONFIG_FILE)
        if len(copy) > MAX_HEADER_BYTES or not read.items() >= config.items():
            raise refusal("its names are too long, or hold unpaired surrogates")
    except FormatError as error:
        reason = str(error).partition(": ")[2].partition("; save it")[0] or str(error)
        raise C3AlignError(f"this aligner cannot be saved: {reason}; fit it again within these limits") from error
    return content, config


@checked
def save(
    settings: Mapping[str, Any], state: State, folder: str | os.PathLike[str], covariances: Precision = "float64"
) -> None:
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
    covariances : "float64" or "float32"
        What second moments are kept as.
    """
    content, config = _dumped(settings, state, covariances)
    container.write_folder(folder, ALIGNER_FILE, content, config)


def _config(settings: Mapping[str, Any], state: State, dtype: Precision = "float64") -> dict[str, Any]:
    described = _state_tensors.described(state, dtype)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if _SINCE_5 & set(described) else SIGNED_VERSION,
        "numerics": NUMERICS,
        "settings": {name: _plain(settings[name]) for name in NAMES},
        "feature_names": [[name, list(columns)] for name, columns in state.feature_names.items()],
        "encoder_fingerprint": state.fingerprint,
        **described,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, mappings.Mapping):
        return mappings.described(value)
    if isinstance(value, noise.Noise):
        return asdict(value)
    value = value.item() if isinstance(value, np.generic) and not isinstance(value, np.longdouble) else value
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, int) else value


def load(
    folder_or_hub_id: str | os.PathLike[str], encoder: str | None = None, **options: Any
) -> tuple[dict[str, Any], State]:
    """Load an aligner that `save` wrote; raises as `C3Aligner.from_pretrained`.

    Parameters
    ----------
    folder_or_hub_id : str or path
        A folder if it exists, else "owner/name" on the Hugging Face Hub.
    encoder : str, optional
        Fingerprint of the encoder that it must come from.
    **options : optional
        ``revision``, ``token``, ``cache_dir`` and ``local_files_only``, as huggingface_hub has them.

    Returns
    -------
    settings : dict
        The aligner's parameters.
    state : State
        What it learned.
    """
    folder = hub.folder(folder_or_hub_id, hub.ALIGNER, **options)
    path = folder / ALIGNER_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent; pass a folder that save_pretrained wrote")
    with container.about(path):
        _check_size(path)
    settings, state = container.read_folder(folder, ALIGNER_FILE, "aligner", _parsed)
    return settings, state if encoder is None else state.bound(encoder)


def restored(kind: type[_Aligner], settings: dict[str, Any], state: State) -> _Aligner:
    """An aligner of these settings that has learned this.

    Parameters
    ----------
    kind : type
        `C3Aligner`, or a class made from it.
    settings, state : dict, State
        What `parse` and `load` return.

    Returns
    -------
    C3Aligner
        Fitted.
    """
    aligner = kind(**settings)
    aligner.state_ = state  # type: ignore[attr-defined]
    return aligner


def _check_size(path: Path) -> None:
    """Refuse a file that is too large for the configuration at its start, before reading it."""
    config = _checked_config(container.read_config(path, "aligner", MAX_HEADER_BYTES))
    payload = sum(dtype.itemsize * math.prod(shape) for dtype, shape in _state_tensors.expected(config).values())
    if path.stat().st_size > payload + MAX_HEADER_BYTES + 8:
        raise refusal(f"the file is larger than its {len(config['modalities'])} modalities need")


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
    container.check_tensors(tensors, _state_tensors.expected(config), "aligner")
    del content
    return config, (_settings_of(config), _state_tensors.state(config, tensors))


def _settings_of(config: dict[str, Any]) -> dict[str, Any]:
    try:
        settings = {**config["settings"], "mapping": mappings.from_description(config["settings"]["mapping"])}
        settings["noise"] = _noise_of(settings["noise"])
        check_settings(settings)
    except C3AlignError as error:
        raise refusal(f"its settings do not fit ({error})") from error
    return settings


def _noise_of(found: Any) -> Any:
    """The noise of a file: a name, or a table of what a noise has, each of its default's kind."""
    if not isinstance(found, dict):
        return found
    usual = asdict(noise.Noise())
    kinds = {key: (int, type(None)) if value is None else (type(value),) for key, value in usual.items()}
    if set(found) != set(usual) or any(type(found[key]) not in kind for key, kind in kinds.items()):
        raise C3AlignError(f"noise must be a name or have {', '.join(usual)}, got {found!r}; save the aligner again")
    return noise.Noise(**found)


def _checked_config(config: Any) -> dict[str, Any]:
    form, version = config.get("format"), config.get("format_version")
    if form != FORMAT or type(version) is not int or version < 1:
        raise refusal(f"format {form!r} version {version!r} is unknown")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"the aligner has format version {version} and this c3align reads up to {FORMAT_VERSION}; upgrade c3align"
        )
    if config.get("numerics") != NUMERICS or version < UNSIGNED_VERSION:
        raise FormatError(
            f"the aligner was fitted under numerics {config.get('numerics')!r} (format {version}) and this c3align "
            f"computes under {NUMERICS}; fit it again, or install the c3align that wrote it"
        )
    keys = _CONFIG_KEYS | (_SINCE_5 if version >= 5 else set())
    if set(config) != keys:
        raise refusal(f"its configuration has unknown or missing keys ({sorted(set(config) ^ keys)})")
    kept = (PRODUCTS, COVARIANCES) if version >= 5 else (PRODUCTS,)
    for key, needed in (("modality_products", "modalities"), ("pair_products", "pairs")):
        if config[key] is not None and (config[key] not in kept or not config[needed]):
            raise refusal(f"{key} are given as {config[key]!r}, for {needed} {config[needed]!r}")
    _check_names(config)
    _check_more(config)
    return config


def _check_names(config: dict[str, Any]) -> None:
    n_dims, names, pairs = config["n_features_in"], config["modalities"], config["pairs"]
    if type(n_dims) is not int or not 1 <= n_dims <= MAX_DIMS:
        raise refusal(f"a dimension of {n_dims!r}")
    if not isinstance(config["settings"], dict) or set(config["settings"]) != set(NAMES):
        raise refusal(f"its settings are not a table of {', '.join(NAMES)}")
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_MODALITIES:
        raise refusal("its modalities are not a short list of names")
    try:
        for name in names:
            check_modality_name(name)
    except C3AlignError as error:
        raise refusal(str(error)) from error
    possible = [[a, b] for i, a in enumerate(names) for b in names[i + 1 :]]
    in_order = isinstance(pairs, list) and pairs == [pair for pair in possible if pair in pairs]
    if sorted(set(names)) != names or not in_order:
        raise refusal("its modalities or pairs are not in order")
    _check_columns(config["feature_names"], names, n_dims)
    fingerprint = config["encoder_fingerprint"]
    if fingerprint is not None and not (isinstance(fingerprint, str) and fingerprint):
        raise refusal("its encoder fingerprint is not a string")


def _check_more(config: dict[str, Any]) -> None:
    """What format 5 has more; absent in older ones."""
    if type(config.get("sketches", False)) is not bool:
        raise refusal("'sketches' is neither true nor false")
    if not any(config.get("across", False) is kind for kind in (True, False)) and config["across"] != COVARIANCES:
        raise refusal(f"it has products across as {config['across']!r}")
    if config.get("across") and not config["pairs"]:
        raise refusal("it has products across, and no pairs")
    found, names = config.get("samples", []), config["modalities"]
    whole = isinstance(found, list) and all(isinstance(part, list) and len(part) == 4 for part in found)
    if not whole or not all(_is_sample(*numbers) for _, *numbers in found):
        raise refusal("its samples are no short list of names and numbers")
    if [name for name, *_ in found] != [name for name in names if [name] in [part[:1] for part in found]]:
        raise refusal("its samples are not of its modalities, in order")
    if found and config["modality_products"] is None:
        raise refusal("it has samples, and no products of columns")


def _is_sample(size: Any, n: Any, n_links: Any) -> bool:
    """Whether these are the most rows of a sample, its rows and their links."""
    whole = type(size) is type(n) is type(n_links) is int
    return whole and 0 <= n <= size <= MOST_SAMPLED and 0 <= n_links <= n * MOST_LINKS


def _check_columns(found: Any, names: list[str], n_dims: int) -> None:
    """Column names are a list of [modality, names], at most one per modality."""
    whole = isinstance(found, list) and all(isinstance(part, list) and len(part) == 2 for part in found)
    if not whole or not all(_are_strings(columns) and len(columns) == n_dims for _, columns in found):
        raise refusal("its feature names do not fit its dimension")
    owners = [name for name, _ in found]
    if not _are_strings(owners) or len(set(owners)) < len(owners) or not set(owners) <= set(names):
        raise refusal("its feature names do not fit its modalities")


def _are_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
