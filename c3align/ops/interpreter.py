"""Which Python runs here: the compiled core needs the main interpreter and a GIL."""

from __future__ import annotations

import ctypes
import sys
import sysconfig

REFUSAL = "it would hang in a sub-interpreter"
FIX = "call it from the main interpreter, or from another process"


def is_main() -> bool:
    """Whether this is the main interpreter; read through the C API, which is the same in every version."""
    api = getattr(ctypes, "pythonapi", None)
    if api is None or not hasattr(api, "PyInterpreterState_Get"):
        return True
    for function in (api.PyInterpreterState_Get, api.PyInterpreterState_Main):
        function.restype = ctypes.c_void_p
    return bool(api.PyInterpreterState_Get() == api.PyInterpreterState_Main())


def describe() -> str:
    """What this interpreter means for the ops, in one sentence."""
    if not is_main():
        return f"a sub-interpreter, where the reference computes; for the compiled core {FIX}"
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the main one, with a GIL; in sub-interpreters the reference computes"
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return "free-threaded, with the GIL switched on, as the compiled core asks for"
    return "free-threaded, without a GIL, which the compiled core is not tested for; set PYTHON_GIL=1 to be safe"
