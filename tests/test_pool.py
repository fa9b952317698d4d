"""The threads under the ops: forks, exits, processors, floats that others have set, sub-interpreters.

Long forms of what runs here in seconds: C3ALIGN_LONG=1 python -m pytest tests/test_pool.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import joblib
import numpy as np
import pytest

from c3align import ops
from c3align.errors import C3AlignError

native = pytest.importorskip("c3align.ops.native")
ROOT = Path(__file__).resolve().parents[1]
LONG = bool(os.environ.get("C3ALIGN_LONG"))
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for it")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
ROUNDINGS = {"down": 0x400, "up": 0x800, "to zero": 0xC00}  # of x86
SETTINGS = ("C3ALIGN_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def python(code, *arguments, timeout=60, **environment):
    """Run code in a fresh interpreter, with no setting of threads but what is given."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(
        command, env={**clean, **path, **environment}, timeout=timeout, capture_output=True, text=True, check=False
    )


def output(code, *arguments, **settings):
    done = python(code, *arguments, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(native, "ELEMENTS_PER_THREAD", 1)
    monkeypatch.setattr(native, "_threads", 2)


@forks
def test_forks_from_busy_threads():
    """Whatever another thread holds at the moment of a fork, the child computes; SIGALRM ends one that hangs."""
    code = """
        import os, signal, sys, threading, warnings
        import numpy as np
        from c3align import ops
        from c3align.ops import native

        warnings.simplefilter("ignore", DeprecationWarning)
        native.ELEMENTS_PER_THREAD = 1
        ops.set_num_threads(2)
        rows = np.random.default_rng(0).standard_normal((600, 64)).astype("f4")
        expected, failed = ops.normalize(rows), []

        def child():
            signal.alarm(20)
            os._exit(0 if all((ops.normalize(rows) == expected).all() for _ in range(3)) else 3)

        def busy(n):
            for _ in range(n):
                for _ in range(5):
                    ops.normalize(rows)
                pid = os.fork()
                if not pid:
                    child()
                status = os.waitpid(pid, 0)[1]
                failed.extend([status] if status else [])

        threads = [threading.Thread(target=busy, args=(int(sys.argv[1]),)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        sys.exit(f"{len(failed)} children failed: {failed}" if failed else 0)
    """
    done = python(code, 500 if LONG else 30, timeout=600 if LONG else 120)
    assert done.returncode == 0, done.stderr


@linux
def test_a_forked_child_has_threads_of_its_own():
    code = """
        import os
        import numpy as np
        from c3align import ops
        from c3align.ops import native

        native.ELEMENTS_PER_THREAD = 1
        ops.set_num_threads(3)
        rows = np.ones((600, 256), "f4")
        ops.normalize(rows)
        pid = os.fork()
        before = len(os.listdir("/proc/self/task"))
        ops.normalize(rows)
        after = len(os.listdir("/proc/self/task"))
        if not pid:
            os._exit(after - before)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), after - before)
    """
    assert output(code) == ["2", "0"]


def test_exit_while_daemon_threads_compute():
    """A daemon thread that comes back from the kernels finds no Python any more, and must not end in an abort."""
    code = """
        import threading, time
        import numpy as np
        from c3align import ops

        ops.set_num_threads(2)
        rows = np.random.default_rng(0).standard_normal((4000, 256)).astype("f4")

        def busy():
            while True:
                ops.moments(rows)
                ops.normalize(rows)

        for _ in range(3):
            threading.Thread(target=busy, daemon=True).start()
        time.sleep(0.05)
    """
    for _ in range(100 if LONG else 4):
        done = python(code)
        assert (done.returncode, done.stderr) == (0, "")


@linux
def test_threads_that_the_system_refuses_are_done_without():
    code = """
        import os, resource
        import numpy as np
        from c3align import ops
        from c3align.ops import native

        native.ELEMENTS_PER_THREAD = 1
        ops.set_num_threads(8)
        rows = np.random.default_rng(0).standard_normal((5000, 64)).astype("f4")
        if os.getuid() == 0:
            os.setuid(65534)  # root has no limit
        limits = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (1, limits[1]))
        before = len(os.listdir("/proc/self/task"))
        refused = [ops.normalize(rows) for _ in range(3)][-1]
        print(len(os.listdir("/proc/self/task")) - before)
        resource.setrlimit(resource.RLIMIT_NPROC, limits)
        for _ in range(1100):
            found = ops.normalize(rows)
        print(len(os.listdir("/proc/self/task")) - before, (found == refused).all())
    """
    assert output(code) == ["0", "7", "True"]


class TestFloats:
    """Control words that others have set: flush to zero, denormals are zero, other roundings."""

    @pytest.fixture(params=["flush", *ROUNDINGS])
    def odd_floats(self, request):
        """Switches this thread's floats to something odd, and back at the end; tells whether they are odd still."""
        import ctypes

        import torch

        from c3align.ops import _floats

        library, before = ctypes.CDLL(None), ctypes.create_string_buffer(128)
        if not hasattr(library, "fesetround") or not sys.platform.startswith("linux"):
            pytest.skip("no fenv.h here")
        library.fegetenv(before)

        def switch():
            if request.param == "flush":
                if not torch.set_flush_denormal(True):
                    pytest.skip("torch cannot flush denormals here")
            elif library.fesetround(ROUNDINGS[request.param]):
                pytest.skip("roundings have other numbers here")
            return lambda: not _floats.are_usual()

        yield switch
        library.fesetenv(before)

    @staticmethod
    def material(dtype):
        """A row, many times, and a mean, that have subnormals among their results; made before floats are odd."""
        rng = np.random.default_rng(0)
        small = float(np.finfo(dtype).smallest_normal)
        row = rng.standard_normal(192).astype(dtype)
        row[::3] *= dtype(small * 4)
        mean = np.where(np.arange(192) % 3, 0.01, small) * rng.standard_normal(192)
        rows = np.tile(row, (400, 1))
        unit = ops.normalize(rows)
        assert ((unit != 0) & (abs(unit) < small)).any()
        return rows, mean, mean * 2.0**-20

    @staticmethod
    def results(rows, mean, tiny):
        parts = [ops.normalize(rows), ops.align(rows, mean), ops.align(rows, tiny, renormalize=False)]
        parts += [
            ops.corrupt(rows, mean, sigma=0.1, seed=1),
            ops.philox_normal(50, 192, seed=3),
            *ops.moments(rows)[2:],
        ]
        for part in parts[:3]:
            assert len({row.tobytes() for row in part}) == 1  # equal rows, on whatever thread
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_no_bit_depends_on_them(self, any_backend, two_threads, odd_floats, dtype):
        material = self.material(dtype)
        expected = self.results(*material)
        is_odd = odd_floats()
        assert is_odd()
        found = self.results(*material)
        assert is_odd()
        assert found == expected

    def test_threads_born_with_them(self):
        """A worker has the control word of the call that started it: here of one that flushes, and has much to do."""
        code = """
            import numpy as np, torch
            from c3align import ops
            from tests.test_pool import TestFloats

            row = TestFloats.material(np.float32)[0][:1]
            ops.set_num_threads(1)
            expected = ops.normalize(row).view(np.uint32)
            ops.set_num_threads(3)
            rows = np.tile(row, (20_000, 1))
            out = np.empty_like(rows)
            for flush in (True, False):
                torch.set_flush_denormal(flush)
                for _ in range(10):
                    assert (ops.normalize(rows, out=out).view(np.uint32) == expected).all()
        """
        assert output(code) == []


class TestNumberOfThreads:
    CODE = "from c3align import ops; print(ops.get_num_threads(), ops.num_threads_reason().split()[0])"

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"LOKY_MAX_CPU_COUNT": "1"}, ["1", "the"]),  # as joblib counts, which reads limits of cgroups too
            ({"OMP_NUM_THREADS": "1"}, ["1", "OMP_NUM_THREADS"]),
            ({"OMP_NUM_THREADS": "1,2"}, ["1", "OMP_NUM_THREADS"]),
            ({"OMP_NUM_THREADS": "100000"}, [str(joblib.cpu_count()), "the"]),
            ({"OMP_NUM_THREADS": "many"}, [str(joblib.cpu_count()), "the"]),
            ({"OMP_NUM_THREADS": "1", "C3ALIGN_NUM_THREADS": "7"}, ["7", "C3ALIGN_NUM_THREADS"]),
        ],
    )
    def test_order(self, settings, expected):
        assert output(self.CODE, **settings) == expected

    def test_what_is_set_comes_first(self):
        code = "from c3align import ops; ops.set_num_threads(6); " + self.CODE
        assert output(code, OMP_NUM_THREADS="1", C3ALIGN_NUM_THREADS="7") == ["6", "ops.set_num_threads"]

    @pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
    def test_a_setting_that_is_no_number(self, monkeypatch, value):
        monkeypatch.setattr(native, "_threads", 0)
        monkeypatch.setenv("C3ALIGN_NUM_THREADS", value)
        with pytest.raises(C3AlignError, match=f"C3ALIGN_NUM_THREADS must be a whole number from 1, got {value}"):
            ops.get_num_threads()

    @linux
    def test_affinity_is_looked_at_anew_after_a_fork(self):
        code = """
            import os
            from c3align import ops

            print(ops.get_num_threads() == len(os.sched_getaffinity(0)), flush=True)
            pid = os.fork()
            if not pid:
                os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
                os._exit(ops.get_num_threads())
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            ops.set_num_threads(5)
            pid = os.fork()
            if not pid:
                os._exit(ops.get_num_threads())
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
        assert output(code) == ["True", "1", "5"]


class Items:
    """Rows normalised in a data loader's worker, or here, and the number of threads there."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = np.random.default_rng(index).standard_normal((1200, 256)).astype("f4")
        return ops.corrupt(rows, None, sigma=0.1, seed=index), ops.get_num_threads(), os.getpid()


@pytest.mark.parametrize("method", [pytest.param("fork", marks=forks), "spawn"])
def test_workers_of_a_data_loader(method, monkeypatch):
    """They get the bits of the main process, by one thread each."""
    from torch.utils.data import DataLoader

    monkeypatch.setattr(native, "_threads", 0)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    here = [Items()[k][0].tobytes() for k in range(4)]
    loader = DataLoader(Items(), batch_size=None, num_workers=2, multiprocessing_context=method, timeout=60)
    found = list(loader)
    assert [np.asarray(rows).tobytes() for rows, *_ in found] == here
    assert {int(n) for _, n, _ in found} == {1}
    assert os.getpid() not in {int(pid) for *_, pid in found}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="NumPy itself refuses to be imported in a sub-interpreter")
def test_a_sub_interpreter_gets_the_reference():
    """pybind11's modules hang there."""
    interpreters = pytest.importorskip("_xxsubinterpreters")
    code = """
        import faulthandler
        import _xxsubinterpreters as interpreters

        faulthandler.dump_traceback_later(30, exit=True)
        interpreters.run_string(interpreters.create(), '''if True:
            import warnings
            warnings.simplefilter("ignore")
            import numpy as np
            from c3align import ops
            from c3align.ops import interpreter
            assert (ops.normalize(np.ones((3, 4), "f4")) == 0.5).all()
            print(ops.backend(), interpreter.describe().split(",")[0], ops.backend_reason(), sep="|")
        ''')
    """
    assert interpreters
    done = python(code, C3ALIGN_BACKEND="")
    assert done.returncode == 0, done.stderr
    backend, kind, reason = done.stdout.strip().split("|")
    assert (backend, kind) == ("reference", "a sub-interpreter")
    assert reason.endswith("call it from the main interpreter, or from another process")


def test_what_doctor_says_of_threads_and_interpreters():
    code = "from c3align.cli import doctor; print(*doctor.lines(doctor.examine()), sep='\\n')"
    lines = python(code, C3ALIGN_NUM_THREADS="3").stdout.splitlines()
    assert "threads: 3: C3ALIGN_NUM_THREADS" in lines
    assert [line for line in lines if line.startswith("interpreter: the main one, with a GIL")]
