"""Folders of encoders: configurations that name code or other files, weights that are not what they say."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np

from tests import tiny_encoders
from tests.attacks import attack, kept

PAYLOAD = "from pathlib import Path\nPath(__file__).with_name('ran').write_text('')\nclass Evil: pass\n"


@cache
def honest(kind: str) -> Path:
    """A folder of each kind, built once."""
    folder = kept() / "model"
    writers = {
        "open_clip": tiny_encoders.write_open_clip,
        "sentence-transformers": tiny_encoders.write_sentence_transformers,
    }
    write = writers.get(kind, lambda path: tiny_encoders.write_transformers(kind, path))
    return Path(write(folder).partition(":")[2].removeprefix("local-dir:"))


def copied(kind: str, folder: Path) -> Path:
    """A model of its own for an attack, with a module beside it that tells when it runs."""
    model = folder / "model"
    shutil.copytree(honest(kind), model)
    for place in (folder, model):
        (place / "evil.py").write_text(PAYLOAD)
    return model


def spec(folder: Path, text: str) -> Path:
    (folder / "spec.txt").write_text(text)
    return folder / "spec.txt"


def changed(path: Path, **values) -> None:
    """Some keys of a JSON file; a dict goes into the one that is there."""
    found = json.loads(path.read_text()) if path.exists() else {}
    for key, value in values.items():
        found[key] = {**found[key], **value} if isinstance(value, dict) and isinstance(found.get(key), dict) else value
    path.write_text(json.dumps(found))


def transformers(folder: Path, kind: str = "clip", file: str = "config.json", **values) -> Path:
    model = copied(kind, folder)
    changed(model / file, **values)
    return spec(folder, f"transformers:{model}")


def open_clip(folder: Path, preprocess: dict | None = None, **values) -> Path:
    model = copied("open_clip", folder)
    changed(model / "open_clip_config.json", model_cfg=values, preprocess_cfg=preprocess or {})
    return spec(folder, f"open_clip:local-dir:{model}")


def modules(folder: Path, *listed: dict, settings: dict | None = None) -> Path:
    """A sentence-transformers model whose list of modules is its own and these."""
    model = copied("sentence-transformers", folder)
    found = json.loads((model / "modules.json").read_text())
    (model / "modules.json").write_text(json.dumps([*found, *listed]))
    if settings:
        changed(model / "sentence_bert_config.json", **settings)
    return spec(folder, f"sentence-transformers:{model}")


def entry(kind: str, path: str = "1_More") -> dict:
    return {"idx": 1, "name": "1", "path": path, "type": kind}


def tensors(path: Path, change) -> None:
    """The tensors of a file, changed."""
    from safetensors.torch import load_file, save_file

    found = load_file(path)
    change(found)
    save_file({name: value.contiguous() for name, value in found.items()}, path, {"format": "pt"})


def header(path: Path, change) -> None:
    """The header of a safetensors file, changed, before the tensors as they are."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + size])
    change(found)
    text = json.dumps(found).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


# code that configurations name


@attack("encoder", "'auto_map' names code")
def names_a_model_class_of_a_file_beside_it(folder: Path) -> Path:
    """`auto_map` of config.json names a class of a file in the folder."""
    return transformers(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})


@attack("encoder", "'auto_map' names code")
def names_a_tokenizer_class_of_a_file_beside_it(folder: Path) -> Path:
    """`auto_map` of tokenizer_config.json."""
    return transformers(folder, file="tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})


@attack("encoder", "'auto_map' names code")
def names_a_processor_class_of_a_file_beside_it(folder: Path) -> Path:
    """`auto_map` of processor_config.json, inside the image processor's part."""
    part = {"auto_map": {"AutoImageProcessor": "evil.Evil", "AutoProcessor": "evil.Evil"}}
    return transformers(folder, file="processor_config.json", image_processor=part)


@attack("encoder", "'auto_map' names code")
def names_code_inside_a_tower(folder: Path) -> Path:
    """`auto_map` in the text tower's part of config.json."""
    return transformers(folder, text_config={"auto_map": {"AutoModel": "evil.Evil"}})


@attack("encoder", "'trust_remote_code' is set")
def trusts_itself(folder: Path) -> Path:
    """config.json sets `trust_remote_code`."""
    return transformers(folder, trust_remote_code=True, auto_map={})


@attack("encoder", "no attention of the library's own")
def attends_by_a_kernel_of_the_hub(folder: Path) -> Path:
    """`_attn_implementation_internal` names a repository of kernels (CVE-2026-4372)."""
    return transformers(folder, _attn_implementation_internal="stranger/kernel")


@attack("encoder", "no attention of the library's own")
def attends_by_a_kernel_in_one_tower(folder: Path) -> Path:
    """`attn_implementation` as a dict names a kernel for the vision tower alone."""
    return transformers(folder, attn_implementation={"text_config": "sdpa", "vision_config": "stranger/kernel:layer"})


@attack("encoder", "no attention of the library's own")
def chooses_experts_by_a_kernel_of_the_hub(folder: Path) -> Path:
    """`_experts_implementation` names a kernel."""
    return transformers(folder, _experts_implementation="stranger/kernel")


@attack("encoder", "'use_kernels' is set")
def asks_for_kernels(folder: Path) -> Path:
    """`use_kernels` in config.json."""
    return transformers(folder, use_kernels=True)


@attack("encoder", "'kernel_config' names code")
def maps_layers_to_kernels(folder: Path) -> Path:
    """`kernel_config` in config.json."""
    return transformers(folder, kernel_config={"kernel_mapping": {"RMSNorm": "stranger/kernel:RMSNorm"}})


@attack("encoder", "quantized weights")
def is_quantized(folder: Path) -> Path:
    """`quantization_config` leads to packages that decode weights."""
    return transformers(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})


@attack("encoder", "custom_generate leads to code")
def brings_its_own_generate(folder: Path) -> Path:
    """A folder `custom_generate` with code."""
    given = transformers(folder)
    (folder / "model" / "custom_generate").mkdir()
    (folder / "model" / "custom_generate" / "generate.py").write_text(PAYLOAD)
    return given


@attack("encoder", "adapter_config.json leads to")
def adapts_another_model(folder: Path) -> Path:
    """adapter_config.json names a base model elsewhere."""
    given = transformers(folder)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "stranger/model"}
    (folder / "model" / "adapter_config.json").write_text(json.dumps(adapter))
    return given


@attack("encoder", "which no family here has|no class of transformers")
def names_a_processor_that_runs_programs(folder: Path) -> Path:
    """`feature_extractor_type` names a class of the library that no contrastive encoder has."""
    return transformers(folder, "clap", "processor_config.json", feature_extractor={
        "feature_extractor_type": "LayoutLMv3FeatureExtractor"})  # fmt: skip


@attack("encoder", "no class of transformers")
def names_a_tokenizer_by_a_path(folder: Path) -> Path:
    """`tokenizer_class` is a dotted path."""
    return transformers(folder, file="tokenizer_config.json", tokenizer_class="os.system")


@attack("encoder", "is a model of type 'evil'")
def is_of_its_own_type(folder: Path) -> Path:
    """`model_type` that the library does not know."""
    return transformers(folder, model_type="evil")


@attack("encoder", r"is a model of type '\\x1b\[2J")
def paints_the_terminal(folder: Path) -> Path:
    """`model_type` is an escape sequence, which the error shows."""
    return transformers(folder, model_type="\x1b[2J\x1b]0;owned\x07")


# pickles


@attack("encoder", "are pickles .* and no safetensors; convert them")
def has_pickled_weights(folder: Path) -> Path:
    """pytorch_model.bin, a pickle that runs code, and no safetensors."""
    given = transformers(folder)
    (folder / "model" / "model.safetensors").unlink()
    (folder / "model" / "pytorch_model.bin").write_bytes(pickled(folder))
    return given


@attack("encoder", "no weights in safetensors")
def has_a_pickle_that_open_clip_prefers(folder: Path) -> Path:
    """open_clip reads open_clip_pytorch_model.bin before model.safetensors."""
    given = open_clip(folder)
    (folder / "model" / "open_clip_model.safetensors").rename(folder / "model" / "model.safetensors")
    (folder / "model" / "open_clip_pytorch_model.bin").write_bytes(pickled(folder))
    return given


@attack("encoder", "weights that are pickles could run code")
def names_a_pickle_for_a_known_tower(folder: Path) -> Path:
    """A file of weights behind the name of one of open_clip's models."""
    (folder / "weights.pt").write_bytes(pickled(folder))
    return spec(folder, f"open_clip:ViT-B-32/{folder / 'weights.pt'}")


@attack("encoder", "wants more than .* parts")
def names_small_weights_for_a_large_tower(folder: Path) -> Path:
    """Tensors of another model behind the name of ViT-bigG-14, which has 2.5 billion numbers."""
    copied("open_clip", folder)
    return spec(folder, f"open_clip:ViT-bigG-14/{folder / 'model' / 'open_clip_model.safetensors'}")


@attack("encoder", "is not loaded|No such file")
def has_a_module_with_pickled_weights(folder: Path) -> Path:
    """A Dense module of sentence-transformers whose weights are a pickle."""
    given = modules(folder, entry("sentence_transformers.models.Dense"))
    (folder / "model" / "1_More").mkdir()
    (folder / "model" / "1_More" / "pytorch_model.bin").write_bytes(pickled(folder))
    changed(folder / "model" / "1_More" / "config.json", in_features=24, out_features=8)
    return given


def pickled(folder: Path) -> bytes:
    """What writes a file when it is unpickled, as torch would be given it."""
    return b"cbuiltins\nopen\n(V" + str(folder / "ran").encode() + b"\nVw\ntR."


# sentence-transformers' list of modules


@attack("encoder", "module class 'evil.Evil' is not among")
def lists_a_class_of_a_file_beside_it(folder: Path) -> Path:
    """modules.json names a class of a file beside it, which sentence-transformers 5 runs."""
    given = modules(folder, entry("evil.Evil", ""))
    shutil.copy(folder / "evil.py", folder / "model" / "modeling_evil.py")
    return given


@attack("encoder", "module class 'subprocess.Popen' is not among")
def lists_a_class_of_python(folder: Path) -> Path:
    """modules.json names a class that starts programs."""
    return modules(folder, entry("subprocess.Popen"))


@attack("encoder", "is not among")
def lists_a_class_that_names_classes(folder: Path) -> Path:
    """modules.json names a Router, whose own file names classes again."""
    given = modules(folder, entry("sentence_transformers.models.Router"))
    (folder / "model" / "1_More").mkdir()
    changed(folder / "model" / "1_More" / "router_config.json", types={"a": "evil.Evil"}, structure={"query": ["a"]})
    return given


@attack("encoder", "is not among")
def lists_something_beside_the_classes(folder: Path) -> Path:
    """modules.json names a function of the library that imports what it is told."""
    return modules(folder, entry("sentence_transformers.util.import_from_string"))


@attack("encoder", "is not among")
def lists_a_class_behind_a_prefix(folder: Path) -> Path:
    """A dotted path that only begins as the library's own."""
    return modules(folder, entry("sentence_transformers.models.Transformer.__init__.__globals__.Pooling.evil"))


@attack("encoder", "leads out of the folder")
def lists_a_module_above_it(folder: Path) -> Path:
    """The path of a module is `../`."""
    return modules(folder, entry("sentence_transformers.models.Pooling", "../outside"))


@attack("encoder", "leads out of the folder")
def lists_a_module_of_the_machine(folder: Path) -> Path:
    """The path of a module is absolute."""
    return modules(folder, entry("sentence_transformers.models.Transformer", "/etc"))


@attack("encoder", "no list of modules")
def lists_modules_as_a_dict(folder: Path) -> Path:
    """modules.json is no list."""
    given = modules(folder)
    (folder / "model" / "modules.json").write_text('{"0": "evil.Evil"}')
    return given


@attack("encoder", "the activation 'evil.Evil' is none of torch")
def activates_by_its_own_code(folder: Path) -> Path:
    """The activation of a Dense module names a class of a file."""
    return dense(folder, activation_function="evil.Evil")


@attack("encoder", "is none of torch")
def activates_by_a_function_of_torch(folder: Path) -> Path:
    """The activation is a function of torch that loads files."""
    return dense(folder, activation_function="torch.hub.load")


@attack("encoder", "is not in its weights")
def projects_to_a_million(folder: Path) -> Path:
    """A Dense module of a million columns, with weights of eight."""
    return dense(folder, in_features=10**6, out_features=10**6)


def dense(folder: Path, **values) -> Path:
    from safetensors.numpy import save_file

    given = modules(folder, entry("sentence_transformers.models.Dense"))
    more = folder / "model" / "1_More"
    more.mkdir()
    zeros = {"linear.weight": np.zeros((8, 24), np.float32), "linear.bias": np.zeros(8, np.float32)}
    save_file(zeros, more / "model.safetensors")
    usual = {"in_features": 24, "out_features": 8, "bias": True}
    changed(more / "config.json", **{**usual, "activation_function": "torch.nn.modules.activation.Tanh", **values})
    return given


@attack("encoder", "'tokenizer_name_or_path' is not known here")
def takes_its_tokenizer_from_elsewhere(folder: Path) -> Path:
    """The settings of a module name another tokenizer, of the Hub."""
    return modules(folder, settings={"tokenizer_name_or_path": "stranger/tokenizer"})


@attack("encoder", "'trust_remote_code' is set")
def trusts_itself_in_its_settings(folder: Path) -> Path:
    """The settings of a module set `trust_remote_code` for its model."""
    return modules(folder, settings={"model_args": {"trust_remote_code": True}})


@attack("encoder", "'code_revision' is not known here")
def passes_options_to_the_library(folder: Path) -> Path:
    """The settings of a module pass options that load code."""
    return modules(folder, settings={"config_args": {"code_revision": "main"}})


@attack("encoder", "does not embed anything")
def embeds_by_saving(folder: Path) -> Path:
    """The settings name `save_pretrained` as the method that embeds texts."""
    return modules(folder, settings={"modality_config": {"text": {"method": "save_pretrained"}}})


@attack("encoder", "its task is 'retrieval'")
def has_a_task_that_names_classes(folder: Path) -> Path:
    """A task for which the library takes the class from `architectures`."""
    return modules(folder, settings={"transformer_task": "retrieval"})


# files elsewhere


@attack("encoder", "it is no file")
def links_its_weights_to_a_device(folder: Path) -> Path:
    """model.safetensors is a link to a device that never ends."""
    given = transformers(folder)
    (folder / "model" / "model.safetensors").unlink()
    (folder / "model" / "model.safetensors").symlink_to("/dev/zero")
    return given


@attack("encoder", "link out of the folder")
def links_its_vocabulary_to_a_secret(folder: Path) -> Path:
    """tokenizer.json is a link to a file of the user."""
    given = transformers(folder)
    (folder / "model" / "tokenizer.json").unlink()
    (folder / "model" / "tokenizer.json").symlink_to("/etc/hostname")
    return given


@attack("encoder", "it is no file")
def has_a_pipe_for_a_configuration(folder: Path) -> Path:
    """A FIFO in the folder, which never ends."""
    given = transformers(folder)
    os.mkfifo(folder / "model" / "generation_config.json")
    return given


@attack("encoder", "leads out of the folder")
def takes_its_vocabulary_from_the_machine(folder: Path) -> Path:
    """`vocab_file` of tokenizer_config.json is a file elsewhere."""
    return transformers(
        folder, file="tokenizer_config.json", vocab_file="/etc/hostname", tokenizer_class="CLIPTokenizer"
    )


@attack("encoder", "leads out of the folder")
def chooses_a_tokenizer_above_it(folder: Path) -> Path:
    """`fast_tokenizer_files` leads out of the folder."""
    return transformers(folder, file="tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.0.json"])


@attack("encoder", "'transformers_weights' names another file")
def chooses_its_weights(folder: Path) -> Path:
    """`transformers_weights` of config.json names a file elsewhere."""
    return transformers(folder, transformers_weights="../../model.safetensors")


@attack("encoder", "'configuration_files' names another file")
def chooses_its_configuration(folder: Path) -> Path:
    """`configuration_files` leads to another config.json by version."""
    return transformers(folder, configuration_files=["config.4.0.0.json"])


@attack("encoder", "is no file of the folder")
def maps_tensors_to_a_file_above_it(folder: Path) -> Path:
    """The index of sharded weights names a file above the folder."""
    given = transformers(folder)
    (folder / "model" / "model.safetensors").rename(folder / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"logit_scale": "../outside.safetensors"}}
    (folder / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    return given


@attack("encoder", "not in the folder")
def names_a_text_tower_of_the_hub(folder: Path) -> Path:
    """open_clip fetches the configuration of `hf_model_name` from the Hub."""
    return open_clip(folder, text_cfg={"hf_model_name": "stranger/tower"})


@attack("encoder", "not in the folder")
def names_a_text_tower_of_the_machine(folder: Path) -> Path:
    """`hf_model_name` is a path."""
    return open_clip(folder, text_cfg={"hf_model_name": "/etc"})


@attack("encoder", "no model of timm's own")
def names_a_vision_tower_of_the_hub(folder: Path) -> Path:
    """`timm_model_name` is a name of the Hub."""
    return open_clip(folder, vision_cfg={"timm_model_name": "hf-hub:stranger/tower"})


@attack("encoder", "'bpe_path' leads out of the folder")
def takes_its_merges_from_the_machine(folder: Path) -> Path:
    """`tokenizer_kwargs` names a file of merges elsewhere."""
    return open_clip(folder, text_cfg={"tokenizer_kwargs": {"bpe_path": "/etc/hostname"}})


@attack("encoder", "open_clip cannot load|cannot be built")
def passes_open_clip_an_option(folder: Path) -> Path:
    """An option that no tower has."""
    return open_clip(folder, vision_cfg={"pretrained": "/etc/hostname"})


@attack("encoder", "describes no towers")
def has_no_towers(folder: Path) -> Path:
    """open_clip_config.json without a vision tower."""
    given = open_clip(folder)
    (folder / "model" / "open_clip_config.json").write_text('{"model_cfg": {"text_cfg": {}, "vision_cfg": 3}}')
    return given


# memory and time


@attack("encoder", "its configuration wants .* numbers")
def states_a_vocabulary_of_millions(folder: Path) -> Path:
    """`vocab_size` of ten million: 1.3 GB that the weights do not hold."""
    return transformers(folder, text_config={"vocab_size": 10**7})


@attack("encoder", "its configuration wants .* numbers|cannot be built")
def states_layers_of_a_million_columns(folder: Path) -> Path:
    """`hidden_size` of a million: terabytes."""
    return transformers(folder, vision_config={"hidden_size": 2 * 10**6, "intermediate_size": 10**6})


@attack("encoder", "wants more than .* parts")
def states_three_thousand_layers(folder: Path) -> Path:
    """`num_hidden_layers` of 3000, which weights of two layers do not fill."""
    return transformers(folder, text_config={"num_hidden_layers": 3000})


@attack("encoder", "no published model has so many")
def states_a_billion_layers(folder: Path) -> Path:
    """`num_hidden_layers` of a billion, a list of which fills the memory before any layer is made."""
    return transformers(folder, text_config={"num_hidden_layers": 10**9})


@attack("encoder", "no published model has so many")
def states_a_billion_labels(folder: Path) -> Path:
    """`num_labels` of a billion: the library names each of them."""
    return transformers(folder, num_labels=10**9)


@attack("encoder", "no published model has so many")
def hears_a_billion_frequencies(folder: Path) -> Path:
    """The filters of a sound's extractor are built from `fft_window_size` when it is made."""
    return transformers(folder, "clap", "processor_config.json", feature_extractor={"fft_window_size": 1 << 30})


@attack("encoder", "no published model has so many")
def sees_pictures_of_a_million_pixels_an_edge(folder: Path) -> Path:
    """Every picture would be resized to a million by a million pixels."""
    return transformers(
        folder, file="processor_config.json", image_processor={"size": {"height": 10**6, "width": 10**6}}
    )


@attack("encoder", "texts have 1000000000 tokens|wants .* numbers")
def pads_texts_to_a_billion_tokens(folder: Path) -> Path:
    """`context_length` of open_clip."""
    return open_clip(folder, text_cfg={"context_length": 10**9})


@attack("encoder", "its configuration wants .* numbers")
def states_a_wide_tower_of_open_clip(folder: Path) -> Path:
    """`width` of open_clip's vision tower."""
    return open_clip(folder, vision_cfg={"width": 1 << 16, "head_width": 64})


@attack("encoder", "no published model has so many|wants more than .* parts")
def states_a_million_layers_of_open_clip(folder: Path) -> Path:
    """`layers` of open_clip's text tower."""
    return open_clip(folder, text_cfg={"layers": 10**6})


@attack("encoder", "it is no plain JSON")
def nests_its_configuration(folder: Path) -> Path:
    """A hundred thousand brackets in config.json."""
    given = transformers(folder)
    (folder / "model" / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    return given


@attack("encoder", "it is no plain JSON")
def says_a_key_twice(folder: Path) -> Path:
    """A key that stands twice in config.json, of which readers see different ones."""
    given = transformers(folder)
    path = folder / "model" / "config.json"
    path.write_text(path.read_text().rstrip()[:-1] + ', "model_type": "clap"}')
    return given


# weights that are not what they say


@attack("encoder", "its configuration wants .* numbers|its weights lack")
def lacks_a_tensor(folder: Path) -> Path:
    """A tensor is missing, which the library would fill at random."""
    given = transformers(folder)
    tensors(folder / "model" / "model.safetensors", lambda found: found.pop("text_projection.weight"))
    return given


@attack("encoder", "its weights lack 'text_projection.weight'")
def renames_a_tensor(folder: Path) -> Path:
    """A tensor under another name: as many numbers, and one layer at random."""

    def rename(found):
        found["nothing.weight"] = found.pop("text_projection.weight")

    given = transformers(folder)
    tensors(folder / "model" / "model.safetensors", rename)
    return given


@attack("encoder", "cannot load|its weights lack")
def broadcasts_a_tensor(folder: Path) -> Path:
    """A tensor of shape (1, 1) in the place of a matrix, and the rest elsewhere."""

    def cut(found):
        found["nothing"] = found["text_projection.weight"]
        found["text_projection.weight"] = found["text_projection.weight"][:1, :1].clone()

    given = transformers(folder)
    tensors(folder / "model" / "model.safetensors", cut)
    return given


@attack("encoder", "'text_projection.weight' is not finite")
def has_a_weight_that_is_no_number(folder: Path) -> Path:
    """One NaN."""

    def spoil(found):
        found["text_projection.weight"][0, 0] = float("nan")

    given = transformers(folder)
    tensors(folder / "model" / "model.safetensors", spoil)
    return given


@attack("encoder", "is not finite")
def has_an_infinite_weight_for_open_clip(folder: Path) -> Path:
    """One infinity in a folder of open_clip."""

    def spoil(found):
        found["text_projection"][0, 0] = float("inf")

    given = open_clip(folder)
    tensors(folder / "model" / "open_clip_model.safetensors", spoil)
    return given


@attack("encoder", "is of type 'F64'")
def has_weights_of_double_size(folder: Path) -> Path:
    """float64 weights."""

    def widen(found):
        found.update({name: value.double() for name, value in found.items()})

    given = transformers(folder)
    tensors(folder / "model" / "model.safetensors", widen)
    return given


@attack("encoder", "its header claims|has other bytes")
def claims_more_than_the_file_holds(folder: Path) -> Path:
    """The header states tensors of a gigabyte in a file of 180 kB."""

    def claim(found):
        found["more"] = {"dtype": "F32", "shape": [1 << 28], "data_offsets": [0, 1 << 30]}

    given = transformers(folder)
    header(folder / "model" / "model.safetensors", claim)
    return given


@attack("encoder", "has other bytes than its shape")
def states_a_shape_that_its_bytes_do_not_fill(folder: Path) -> Path:
    """A shape of a thousand times its bytes."""

    def claim(found):
        found["text_projection.weight"]["shape"] = [24_000, 32]

    given = transformers(folder)
    header(folder / "model" / "model.safetensors", claim)
    return given


@attack("encoder", "is no safetensors file")
def states_a_header_of_exabytes(folder: Path) -> Path:
    """The length of the header is 2**63."""
    given = transformers(folder)
    path = folder / "model" / "model.safetensors"
    path.write_bytes((1 << 63).to_bytes(8, "little") + path.read_bytes()[8:])
    return given


@attack("encoder", "is unknown; pass one of")
def names_an_encoder_that_is_none(folder: Path) -> Path:
    """A spec of a module of Python."""
    return spec(folder, "os:system")
