"""`as_module()`: noise that comes and goes as Dropout's does, however people train; exact where it is asked for."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle  # of a user's own model, as torch's tools do
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from c3align import C3Aligner, centering, ops
from c3align.errors import C3AlignError, ModalityMeanWarning
from c3align.noise import stream_seed
from tests.test_ops import raw

N_DIMS = 9
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.test_module"])


def doubles(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def make_aligner(**settings):
    rows, other = doubles(200, N_DIMS), doubles(200, N_DIMS, seed=4)
    return C3Aligner(**settings).fit(rows + 3, rows + 0.3 * other - 3)


@pytest.fixture
def aligner():
    return make_aligner(seed=2**63 + 5)


@pytest.fixture
def X():
    return doubles(8, N_DIMS, seed=7) + 3


class Model(nn.Module):
    """Layers around the module, as a decoder has them."""

    def __init__(self, aligner):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Linear(N_DIMS, N_DIMS).double(), nn.Linear(N_DIMS, 1).double()
        self.noise = aligner.as_module()
        with torch.no_grad():
            self.before.weight.mul_(0.1)  # so that rows stay near their mean

    def forward(self, X, **place):
        return self.after(self.noise(self.before(X) + X, **place))


def gradients(model, X, run=lambda model, *arguments: model(*arguments)):
    model.zero_grad()
    run(model, X).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def steps(model, optimizer, X, n):
    for _ in range(n):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()


class TestNoise:
    def test_each_pass_has_its_own(self, aligner, X):
        module = aligner.as_module()
        found = {raw(module(X)) for _ in range(20)}
        assert len(found) == 20
        plain = make_aligner(sigma=0.3, renormalize=False).as_module()
        noises = torch.stack([plain(X) for _ in range(300)]) - plain.eval()(X)
        assert abs(noises.std() - 0.3) < 5 * 0.3 / (2 * noises.numel()) ** 0.5
        assert noises.mean(dim=0).abs().max() < 5 * 0.3 / 300**0.5
        assert (noises[1:] * noises[:-1]).mean().abs() < 5 * 0.3**2 / noises.numel() ** 0.5

    def test_it_follows_torchs_generator(self, aligner, X):
        module = aligner.as_module()
        torch.manual_seed(5)
        first, state = module(X), torch.get_rng_state()
        second = module(X)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            assert raw(module(X)) == raw(first)
        third = module(X)
        torch.set_rng_state(state)
        assert [raw(module(X)), raw(module(X))] == [raw(second), raw(third)]
        assert len({raw(first), raw(second), raw(third)}) == 3

    @pytest.mark.filterwarnings("ignore::c3align.errors.ModalityMeanWarning")
    def test_rows_of_one_pass_and_of_two_models_differ(self, aligner, X):
        same_rows = X[:1].expand(8, -1)
        torch.manual_seed(0)
        noisy = aligner.as_module()(same_rows)
        assert len({raw(row) for row in noisy}) == 8
        torch.manual_seed(0)
        assert raw(make_aligner(seed=1).as_module()(same_rows)) != raw(noisy)

    def test_a_place_that_is_given_is_kept(self, aligner, X):
        module = aligner.as_module()
        seed = stream_seed(aligner.seed, "text")
        whole = ops.corrupt(X, aligner.statistics_["text"].mean, sigma=aligner.sigma_, seed=seed, row_offset=2**40)
        for torch_seed in range(2):
            torch.manual_seed(torch_seed)
            assert raw(module(X, row_offset=2**40)) == raw(whole)
            parts = [module(X[a:b], row_offset=2**40 + a) for a, b in ((0, 3), (3, 8))]
            assert raw(torch.cat(parts)) == raw(whole)
            assert raw(module(X, row_offset=torch.tensor(2**40))) == raw(whole)

    def test_rows_by_number(self, aligner, X):
        module, order = aligner.as_module(), torch.randperm(8)
        whole = module(X, row_offset=2**40)
        assert raw(module(X[order], row_ids=order + 2**40)) == raw(whole[order])

    @pytest.mark.filterwarnings("ignore::c3align.errors.ModalityMeanWarning")
    def test_noise_of_two_modalities_is_independent(self, aligner):
        text = doubles(500, N_DIMS, seed=1)
        pair = (text, text + 0.1 * doubles(500, N_DIMS, seed=2))
        module = C3Aligner(sigma=0.3, renormalize=False).fit(*pair).as_module()
        X, noises = doubles(4000, N_DIMS, seed=7), []
        for name in ("text", "image"):
            noises.append((module.train()(X, name, row_offset=0) - module.eval()(X, name)).flatten())
            assert abs(noises[-1].std() - 0.3) < 0.01
        correlation = torch.corrcoef(torch.stack(noises))[0, 1]
        assert correlation.abs() < 0.05

    def test_it_is_corrupt(self, aligner, X):
        assert raw(aligner.as_module()(X, row_offset=7)) == raw(aligner.corrupt(X, row_offset=7))

    def test_streams_are_told_apart_by_seed_and_name(self):
        names = {stream_seed(seed, name) for seed in (0, 1, 2**64 - 1) for name in ("text", "image", "audio")}
        assert len(names) == 9
        assert all(0 <= number < 2**64 for number in names)
        assert stream_seed(0, "text") == 2024992729630503895  # on every machine and in every version


class TestTraining:
    def test_gradients_flow(self, aligner, X):
        X = X.requires_grad_()
        module = aligner.as_module()
        first, second = module(X), module(X)
        assert raw(first.detach()) != raw(second.detach())
        (first.sum() + second.sum()).backward()
        assert X.grad.abs().sum() > 0

    @pytest.mark.parametrize("use_reentrant", [True, False])
    def test_activation_checkpointing(self, aligner, X, use_reentrant):
        model, X = Model(aligner), X.requires_grad_()
        torch.manual_seed(3)
        expected = gradients(model, X)
        torch.manual_seed(3)
        found = gradients(model, X, lambda *call: checkpoint(*call, use_reentrant=use_reentrant))
        assert [raw(gradient) for gradient in found] == [raw(gradient) for gradient in expected]
        assert raw(gradients(model, X)[0]) != raw(expected[0])

    def test_a_resumed_run_goes_on(self, aligner, X):
        model = Model(aligner)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        steps(model, optimizer, X, 3)
        file = io.BytesIO()
        torch.save((model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), file)
        steps(model, optimizer, X, 3)
        file.seek(0)
        again = Model(aligner)
        resumed = torch.optim.AdamW(again.parameters(), lr=0.01)
        state, of_optimizer, of_torch = torch.load(file)
        again.load_state_dict(state)
        resumed.load_state_dict(of_optimizer)
        torch.set_rng_state(of_torch)
        steps(again, resumed, X, 3)
        for ours, theirs in zip(again.parameters(), model.parameters()):
            assert raw(ours.detach()) == raw(theirs.detach())

    def test_several_processes(self, tmp_path):
        """Two ranks, DDP and FSDP; see `on_a_rank`."""
        torch.multiprocessing.start_processes(on_a_rank, (str(tmp_path),), nprocs=2, start_method="forkserver")
        noises = [torch.load(tmp_path / f"noise-{rank}") for rank in range(2)]
        assert raw(noises[0]) != raw(noises[1])
        X = union()
        model = Model(make_aligner())
        for name in ("row_offset", "row_ids", "fsdp"):
            expected = gradients(model, X, lambda model, X: model(X, row_offset=2**40))
            for ours, theirs in zip(torch.load(tmp_path / name), expected):
                assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-15)

    @pytest.mark.parametrize("method", ["fork", FORKSERVER], ids=["fork", "forkserver"])
    def test_workers_of_a_loader(self, aligner, method):
        """Each worker, batch and epoch has its own noise, and torch's seed repeats all of it, however they start."""
        collate = Collate(aligner.as_module())
        runs = []
        for started in ("fork", method):
            torch.manual_seed(11)
            loader = DataLoader(
                Same(), 4, num_workers=2, collate_fn=collate, multiprocessing_context=started, persistent_workers=True
            )
            runs.append([raw(batch) for _ in range(2) for batch in loader])
            del loader
        assert runs[0] == runs[1]
        assert len(set(runs[0])) == 8

    def test_a_generator_of_ones_own_is_left_alone(self, aligner, X):
        """Eval mode and exact places draw nothing, so that they shift no other layer's noise."""
        module, state = aligner.as_module(), torch.get_rng_state()
        module(X, row_offset=3)
        module.eval()(X)
        assert torch.equal(torch.get_rng_state(), state)


def union():
    return doubles(8, N_DIMS, seed=7) + 3


class Same(torch.utils.data.Dataset):
    """The same row 16 times."""

    def __len__(self):
        return 16

    def __getitem__(self, i):
        return torch.full((N_DIMS,), 3.0) + torch.arange(N_DIMS)


class Collate:
    def __init__(self, module):
        self.module = module

    def __call__(self, rows):
        return self.module(torch.stack(rows))


def on_a_rank(rank, folder):
    """Noise of a forward pass, and gradients of half the batch by the rows' numbers in the whole, averaged."""
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    X, first = union()[4 * rank : 4 * rank + 4], 2**40 + 4 * rank
    model = DistributedDataParallel(Model(make_aligner()))
    torch.manual_seed(rank)
    torch.save(model(union()).detach(), f"{folder}/noise-{rank}")
    places = {"row_offset": {"row_offset": first}, "row_ids": {"row_ids": torch.arange(4) + first}}
    for name, place in places.items():
        found = gradients(model, X, lambda model, X, place=place: model(X, **place))
        if rank == 0:
            torch.save(found, f"{folder}/{name}")
    sharded = Model(make_aligner())
    for part in (sharded.before, sharded.after, sharded):
        fully_shard(part, mesh=dist.device_mesh.init_device_mesh("cpu", (2,)))
    found = gradients(sharded, X, lambda model, X: model(X, row_offset=first))
    found = [gradient.full_tensor() for gradient in found]
    if rank == 0:
        torch.save(found, f"{folder}/fsdp")
    dist.destroy_process_group()


class TestGraphs:
    @pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
    def test_compiled_whole(self, aligner, X, backend):
        torch._dynamo.reset()
        module = aligner.as_module()
        compiled = torch.compile(aligner.as_module(), fullgraph=True, backend=backend)
        torch.manual_seed(0)
        noisy = [compiled(X) for _ in range(3)]
        assert len(set(map(raw, noisy))) == 3
        torch.manual_seed(0)
        assert [raw(compiled(X)) for _ in range(3)] == list(map(raw, noisy))
        if backend == "aot_eager":  # inductor has a generator of its own
            torch.manual_seed(0)
            assert [raw(module(X)) for _ in range(3)] == list(map(raw, noisy))
        assert raw(compiled(X, row_offset=2**40)) == raw(module(X, row_offset=2**40))
        compiled(X.clone().requires_grad_()).sum().backward()
        assert raw(compiled.eval()(X, "text")) == raw(aligner.transform(X, modality="text"))
        with pytest.raises(Exception, match="pass a fitted modality's name"):
            compiled(X, "auto")

    def test_each_module_of_a_compiled_function_has_its_own_mean(self, X):
        torch._dynamo.reset()
        how = {"fullgraph": True, "backend": "aot_eager"}
        compiled = torch.compile(lambda module, X: module(X), **how)
        for shift in (0.0, 0.1, 0.2):
            aligner = C3Aligner().fit(doubles(200, N_DIMS) + 3 + shift * torch.arange(N_DIMS))
            module = aligner.as_module().eval()
            assert raw(compiled(module, X)) == raw(aligner.transform(X, modality="text"))
            assert raw(torch.compile(aligner.as_module().eval(), **how)(X)) == raw(module(X))

    def test_a_graph_that_calls_it_twice(self, aligner, X):
        torch._dynamo.reset()
        module = aligner.as_module()
        twice = torch.compile(lambda X: module(module(X)) + module(X, "image"), fullgraph=True, backend="aot_eager")
        found = [raw(twice(X)) for _ in range(2)]
        assert found[0] != found[1]

    def test_vectors_move_with_the_model(self, aligner):
        """To be there before a graph is recorded."""
        model = Model(aligner).to("meta")
        seen = {(name, device.type, dtype) for name, device, dtype in model.noise._uploaded}
        means = {(("text", "mean"), "meta", torch.float32), (("image", "mean"), "meta", torch.float64)}
        assert means <= seen

    def test_exported(self, aligner, X):
        exported = torch.export.export(aligner.as_module().eval(), (X,))
        assert raw(exported.module()(X)) == raw(aligner.transform(X, modality="text"))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("noise", ["isotropic", "residual"])
    def test_on_the_meta_device(self, dtype, noise):
        rows = torch.empty(5, N_DIMS, dtype=dtype, device="meta")
        module = make_aligner(noise=noise).as_module()
        for found in (module(rows), module(rows, row_offset=3), module(rows.requires_grad_()), module.eval()(rows)):
            assert (found.shape, found.dtype, found.device.type) == ((5, N_DIMS), dtype, "meta")
        with pytest.raises(C3AlignError, match="on the meta device\\); pass a fitted modality's name"):
            module(rows, "batch")

    def test_fake_tensors_leave_nothing_behind(self, aligner, X):
        from torch._subclasses.fake_tensor import FakeTensorMode

        module = aligner.as_module()
        with FakeTensorMode():
            assert module(torch.empty(5, N_DIMS)).shape == (5, N_DIMS)
        assert raw(module.eval()(X)) == raw(aligner.transform(X, modality="text"))


class TestSnapshot:
    def test_half_precision_keeps_the_mean_whole(self, aligner, X):
        module = aligner.as_module().half().eval()
        assert raw(module(X.half())) == raw(aligner.transform(X.half(), modality="text"))
        assert raw(module(X)) == raw(aligner.transform(X, modality="text"))

    @pytest.mark.filterwarnings("ignore::c3align.errors.ModalityMeanWarning")
    def test_what_the_aligner_learns_later_is_not_in_it(self, aligner, X):
        module, before = aligner.as_module().eval(), raw(aligner.transform(X, modality="text"))
        aligner.partial_fit(doubles(500, N_DIMS, seed=9) * 5 + torch.arange(N_DIMS), modality="text")
        aligner.set_params(seed=77, sigma=9.0, renormalize=False)
        assert raw(module(X)) == before
        assert raw(aligner.transform(X, modality="text")) != before
        fresh = make_aligner(seed=2**63 + 5).as_module()
        assert raw(module.train()(X, row_offset=1)) == raw(fresh(X, row_offset=1))

    def test_copies_and_pickles(self, aligner, X):
        module = aligner.as_module()
        expected = raw(module(X, row_offset=1))
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.share_memory()):
            assert raw(twin(X, row_offset=1)) == expected
        module(torch.empty(2, N_DIMS, device="meta"))
        assert "meta" in {device.type for _, device, _ in module._uploaded}
        assert {device.type for _, device, _ in copy.deepcopy(module)._uploaded} == {"cpu"}  # uploads its own

    def test_its_state_is_empty_and_an_old_one_is_taken(self, aligner, X):
        module = aligner.as_module()
        assert dict(module.state_dict()) == {}
        assert list(module.parameters()) == []
        module.load_state_dict({"row_offset": torch.tensor(24)})
        model = Model(aligner)
        model.load_state_dict({**model.state_dict(), "noise.row_offset": torch.tensor(24)})
        with pytest.raises(RuntimeError, match="Unexpected key"):
            module.load_state_dict({"mean": torch.tensor(24)})


class TestCentering:
    def test_every_choice_of_a_mean(self, aligner):
        module = aligner.as_module().eval()
        far = doubles(80, N_DIMS) - 3
        with pytest.warns(ModalityMeanWarning, match="given as modality='text' lie") as caught:
            module(far, "text")
        assert caught[0].filename == __file__
        assert raw(module(far, "auto")) == raw(aligner.transform(far, modality="image"))
        assert raw(module(far, "batch")) == raw(aligner.transform(far, modality="batch"))
        with pytest.raises(NotFittedError, match="no mean was learned for modality 'audio'"):
            module(far, "audio")

    def test_named_rows_are_looked_at_once(self, aligner, monkeypatch, X):
        module, looks = aligner.as_module(), []
        center = centering.center
        monkeypatch.setattr(centering, "center", lambda *call: looks.append(call[0]) or center(*call))
        for _ in range(3):
            module(X)
            module.train()(X - 6, "image")
        assert looks == ["text", "image"]
        for _ in range(3):
            module.eval()(X)
        assert looks == ["text", "image", "text"]

    def test_trained_on_texts_and_run_on_pictures(self, aligner, X):
        """The name is text by default, and was right in training."""
        module = aligner.as_module()
        module(X)
        with pytest.warns(ModalityMeanWarning, match="given as modality='text'"):
            module.eval()(X - 6)


class TestOnnx:
    def test_the_graph_holds_plain_operations(self, aligner, X, monkeypatch):
        """What the exporter is given has no op that only we know, and the same rows."""
        module = aligner.as_module().eval()
        expected = module(X)
        monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
        graph = torch.export.export(module, (X,)).graph_module
        assert not [node for node in graph.graph.nodes if "c3align" in str(node.target)]
        assert (module(X) - expected).abs().max() < 2**-21
        for dtype in (torch.float16, torch.float64):
            assert module(X.to(dtype)).dtype == dtype
        with pytest.raises(C3AlignError, match="export the module after"):
            module.train()(X)

    def test_in_an_onnx_runtime(self, aligner, X, tmp_path):
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        module = aligner.as_module().eval()
        torch.onnx.export(module, (X,), str(tmp_path / "aligner.onnx"), dynamo=True)
        session = runtime.InferenceSession(str(tmp_path / "aligner.onnx"))
        (found,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
        assert np.abs(found - module(X).numpy()).max() < 2**-21


def test_integers_are_no_rows(coco):
    """Their results would be rounded to zeros."""
    module = C3Aligner().fit(coco[1], coco[0]).as_module()
    for dtype in (torch.int64, torch.bool):
        with pytest.raises(C3AlignError, match=rf"a floating tensor .* got {dtype}"):
            module((100 * torch.tensor(coco[1])).to(dtype))


def test_what_are_no_rows_of_these_dimensions(coco):
    module = C3Aligner(mapping="barycenter").fit(coco[1], coco[0]).as_module()
    for X, text in ((coco[1], "got ndarray"), (torch.ones(3, 7), r"got torch.float32 \(3, 7\)")):
        for mode in (True, False):
            with pytest.raises(C3AlignError, match=rf"X must be a floating tensor \(n_rows, 512\), {text}"):
                module.train(mode)(X)
