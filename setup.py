"""Compiles `csrc/`; everything else stands in pyproject.toml.

`C3ALIGN_NATIVE` = auto (default: a failed build leaves a slower package, and says so), on (a failed build is an
error) or off (no build).
"""

import glob
import os
import platform
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError

NATIVE = os.environ.get("C3ALIGN_NATIVE", "auto")
if NATIVE not in ("auto", "on", "off"):
    sys.exit(f"C3ALIGN_NATIVE={NATIVE} is unknown; set it to auto, on or off")

KERNELS = "csrc/cpu/rows.cpp"
MSVC = sys.platform == "win32"
# no contraction: a fused multiply-add where the source names none would change bits
FLAGS = (
    ["/O2", "/std:c++17", "/fp:precise", "/EHsc"]
    if MSVC
    else ["-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
)
X86 = platform.machine().lower() in ("x86_64", "amd64") and not MSVC
ISAS = {"portable": []}
if X86:
    ISAS["avx2"] = ["-mavx2", "-mfma"]
    ISAS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]


class BuildKernels(build_ext):
    """Compiles the kernels once for each instruction set; the best is chosen at run time."""

    def build_extension(self, ext):
        try:
            ext.extra_objects = [self.kernels_for(isa, flags, ext) for isa, flags in ISAS.items()]
            super().build_extension(ext)
        except (CCompilerError, BaseError) as error:
            if NATIVE == "on":
                mend = "install a C++17 compiler, or set C3ALIGN_NATIVE=auto for a slower package without it"
                raise CompileError(f"the compiled core was not built ({error}); {mend}") from error
            self.warn(f"c3align is built without the compiled core, hence slower: {error}")

    def kernels_for(self, isa, flags, ext):
        folder, macros = os.path.join(self.build_temp, isa), [("C3ALIGN_ISA", isa)]
        (built,) = self.compiler.compile([KERNELS], folder, macros, extra_postargs=FLAGS + flags, depends=ext.depends)
        return built


def extension():
    import pybind11

    return Extension(
        "c3align.ops._C",
        ["csrc/bindings.cpp", "csrc/cpu/pool.cpp"],
        include_dirs=[pybind11.get_include()],
        define_macros=[("C3ALIGN_X86_KERNELS", "1")] if X86 else [],
        extra_compile_args=FLAGS,
        extra_link_args=[] if MSVC else ["-pthread"],
        depends=["setup.py", KERNELS, *glob.glob("csrc/**/*.h", recursive=True)],
        language="c++",
        optional=NATIVE == "auto",
    )


setup(ext_modules=[] if NATIVE == "off" else [extension()], cmdclass={"build_ext": BuildKernels})
