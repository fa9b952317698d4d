"""Compiles `csrc/`; everything else stands in pyproject.toml.

`C3ALIGN_NATIVE` = on (default: a build that fails is an error) or off (the slower package, in Python alone). There is
no third: pip would keep a wheel without the core, and take it again where the core is asked for later.
`C3ALIGN_CUDA` = auto (default: with nvcc, which `CUDA_HOME` or `PATH` finds, and without, with a warning, where it
fails), on (a build that fails is an error) or off.
`C3ALIGN_CUDA_ARCHITECTURES` = compute capabilities without the dot, with commas between them, to compile for; default:
80,90,100, those of them that nvcc knows.
"""

import copy
import glob
import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError


def choice(variable, *values):
    """What the environment asks for, the first value where it says nothing."""
    value = os.environ.get(variable) or values[0]
    if value not in values:
        sys.exit(f"{variable}={value} is unknown; set it to {', '.join(values[:-1])} or {values[-1]}")
    return value


NATIVE, CUDA = choice("C3ALIGN_NATIVE", "on", "off"), choice("C3ALIGN_CUDA", "auto", "on", "off")
KERNELS, CUDA_KERNELS = "csrc/cpu/transform.cpp", "csrc/cuda/transform.cu"
MSVC = sys.platform == "win32"
# no contraction: a fused multiply-add where the source names none would change bits
FLAGS = (
    ["/O2", "/std:c++17", "/fp:precise", "/EHsc"]
    if MSVC
    else ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
)
SANITIZE = os.environ.get("C3ALIGN_SANITIZE")  # such as "address,undefined"; see `make sanitize`
LINK_FLAGS = [] if MSVC else ["-pthread"]
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g1"]
    LINK_FLAGS += [f"-fsanitize={SANITIZE}"]
elif sys.platform == "linux":
    LINK_FLAGS += ["-Wl,-s"]  # no symbols but the module's own are of use
NVCC_FLAGS = [
    "-std=c++17",
    "-O3",
    "--fmad=false",
    "--threads=0",
    "-Xfatbin=-compress-all",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
]
ASKED = os.environ.get("C3ALIGN_CUDA_ARCHITECTURES")
# A100, H100 and H200, B200; other cards compile the PTX of the last at first use
ARCHITECTURES = ASKED.split(",") if ASKED else ["80", "90", "100"]
X86 = platform.machine().lower() in ("x86_64", "amd64") and not MSVC
ISAS = {"portable": []}
if X86:
    ISAS["avx2"] = ["-mavx2", "-mfma"]
    ISAS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
    ISAS["avx512_zen4"] = [*ISAS["avx512"], "-DC3ALIGN_NARROW_SUMS"]  # see csrc/cpu/reduce.h


def find_nvcc():
    """The CUDA compiler, or None; an error where CUDA is asked for."""
    home = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc", path=os.path.join(home, "bin") if home else None)
    if CUDA == "on" and not found:
        sys.exit("C3ALIGN_CUDA=on, but no nvcc; install the CUDA toolkit, set CUDA_HOME, or set C3ALIGN_CUDA=auto")
    return None if CUDA == "off" or MSVC else found


def refuse_what_excludes_cuda():
    """An error where CUDA kernels are asked for and cannot be built whatever compilers are here."""
    if CUDA == "on" and NATIVE == "off":
        sys.exit("C3ALIGN_CUDA=on, but C3ALIGN_NATIVE=off builds no core to hold CUDA kernels; unset one of them")
    if CUDA == "on" and MSVC:
        sys.exit("C3ALIGN_CUDA=on, but CUDA kernels are not built on Windows; set C3ALIGN_CUDA=auto, or use Linux")


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompileError(f"{command[0]} does not run: {error}") from error
    if done.returncode:
        raise CompileError(f"{command[0]} failed: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


FAILURES = (CCompilerError, BaseError)
MEND = "install a C++17 compiler, or set C3ALIGN_NATIVE=off for the slower pure-Python package"
CUDA_MEND = "install a CUDA toolkit that fits, or set C3ALIGN_CUDA=auto, which does without where it fails"


class BuildKernels(build_ext):
    """Compiles the kernels once for each instruction set; the best is chosen at run time."""

    def build_extension(self, ext):
        nvcc = find_nvcc()
        try:
            ext.extra_objects = [self.kernels_for(isa, flags, ext) for isa, flags in ISAS.items()]
            if not (nvcc and self.built_with_cuda(nvcc, ext)):
                self.link(ext)
        except FAILURES as error:
            raise CompileError(f"the compiled core was not built: {error}\n{MEND}") from error

    def built_with_cuda(self, nvcc, ext):
        """Whether the core was built with the CUDA kernels; where they are asked for, an error if not."""
        whole = copy.deepcopy(ext)
        try:
            whole.extra_objects.append(self.cuda_kernels(nvcc, whole))
            self.link(whole)
        except FAILURES as error:
            if CUDA == "on":
                sys.exit(f"C3ALIGN_CUDA=on, but the CUDA kernels were not built: {error}\n{CUDA_MEND}")
            self.warn(f"c3align is built without CUDA kernels; the compiled core stands without them: {error}")
            return False
        return True

    def link(self, ext):
        """Build the module anew: by its dates it could pass for one with other device code, or with none."""
        Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        super().build_extension(ext)

    def kernels_for(self, isa, flags, ext):
        folder, macros = os.path.join(self.build_temp, isa), [("C3ALIGN_ISA", isa)]
        (built,) = self.compiler.compile([KERNELS], folder, macros, extra_postargs=FLAGS + flags, depends=ext.depends)
        return built

    def cuda_kernels(self, nvcc, ext):
        """Compile the device code, unless nothing changed, and link its run time into the extension."""
        known = run(nvcc, "--list-gpu-code")
        chosen = [a for a in ARCHITECTURES if ASKED or re.search(rf"\bsm_{a}\b", known)]
        release = f"{zlib.crc32(run(nvcc, '--version').encode()):08x}"
        target = os.path.join(self.build_temp, "cuda", f"rows-{'-'.join([*chosen, release])}.o")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not chosen:
            raise CompileError(f"{nvcc} compiles for none of {', '.join('sm_' + a for a in ARCHITECTURES)}")
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in chosen]
        codes.append(f"-gencode=arch=compute_{chosen[-1]},code=compute_{chosen[-1]}")
        stale = not os.path.exists(target) or any(
            os.path.getmtime(source) > os.path.getmtime(target) for source in [*ext.depends, CUDA_KERNELS]
        )
        if self.force or stale:
            run(nvcc, *NVCC_FLAGS, *codes, "-c", CUDA_KERNELS, "-o", target)
        # nvcc may be a wrapper outside the toolkit, so it is asked where its libraries are
        plan = run(nvcc, "--dryrun", "-c", CUDA_KERNELS, "-o", os.devnull)
        ext.library_dirs += re.findall(r'"-L([^"]+)"', plan)
        ext.libraries += ["cudart_static", "dl", "rt", "pthread"]
        ext.define_macros.append(("C3ALIGN_CUDA", "1"))
        return target


def extension():
    import pybind11

    headers = [*glob.glob("csrc/**/*.h", recursive=True)]
    return Extension(
        "c3align.ops._C",
        ["csrc/bindings.cpp", "csrc/cpu/come_back.cpp", "csrc/cpu/dispatch.cpp", "csrc/cpu/pool.cpp"],
        include_dirs=[pybind11.get_include()],
        define_macros=[("C3ALIGN_X86_KERNELS", "1")] if X86 else [],
        extra_compile_args=FLAGS,
        extra_link_args=LINK_FLAGS,
        depends=["setup.py", KERNELS, *headers],
        language="c++",
    )


def description():
    """README.md for the page of a package index, where links to files of this folder would lead nowhere."""
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    text = re.sub(r"^!\[.*\]\(.*\)\n\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]+)\]\((?!https?://)[^)]+\)", r"\1", text)


refuse_what_excludes_cuda()
setup(
    long_description=description(),
    long_description_content_type="text/markdown",
    ext_modules=[] if NATIVE == "off" else [extension()],
    cmdclass={"build_ext": BuildKernels},
)
