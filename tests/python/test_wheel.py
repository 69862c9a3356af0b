"""The wheel itself: its tag, its size, what its libraries need, and what importing it costs.

NEARFIELD_WHEEL names the wheel; tools/test_python.sh builds it.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

WHEEL = Path(os.environ.get("NEARFIELD_WHEEL", "no wheel"))
pytestmark = pytest.mark.skipif("NEARFIELD_WHEEL" not in os.environ, reason="NEARFIELD_WHEEL names no wheel")


def run(*command, **keywords):
    return subprocess.run(command, capture_output=True, text=True, check=True, **keywords).stdout


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(WHEEL) as archive:
        archive.extractall(folder)
    return sorted((folder / "nearfield" / "_lib").glob("*.so"))


def test_one_wheel_for_every_python():
    assert re.fullmatch(r"nearfield-\d+\.\d+\.\d+-py3-none-[a-z0-9_]+\.whl", WHEEL.name)
    assert WHEEL.stat().st_size <= 5 << 20


def test_it_holds_what_users_and_type_checkers_need():
    with zipfile.ZipFile(WHEEL) as archive:
        names = archive.namelist()
    for name in ("py.typed", "_lib/libnearfield.so", "_lib/libnearfield_jax.so", "nn", "compat", "plot", "numpy.py"):
        assert any(each.startswith(f"nearfield/{name}") for each in names), name
    assert not [each for each in names if each.endswith((".cpp", ".h", ".a", ".txt")) and "dist-info" not in each]


def test_auditwheel_grants_manylinux_2_34_or_older():
    shown = run(sys.executable, "-m", "auditwheel", "show", str(WHEEL))
    tags = [int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", shown)]
    assert tags and min(tags) <= 34, shown


def test_the_libraries_need_only_what_every_system_has_and_each_other(libraries):
    assert [each.name for each in libraries] == ["libnearfield.so", "libnearfield_jax.so"]
    for library in libraries:
        needed = re.findall(r"NEEDED\).*\[(.*)\]", run("readelf", "-d", str(library)))
        allowed = r"lib(c|m|dl|pthread|rt|gcc_s)\.so\.\d+|ld-linux.*|libnearfield\.so"
        assert all(re.fullmatch(allowed, each) for each in needed), (library.name, needed)
        missing = run("ldd", "-r", str(library))
        assert "undefined symbol" not in missing and "not found" not in missing, missing
        symbols = run("nm", "-D", str(library))
        assert not re.search(r"\bU (_?Py[A-Z_]|_ZNK?(2at|3c10|5torch))", symbols)


def test_only_the_c_abi_is_exported(libraries):
    for library in libraries:
        exported = re.findall(r" [TBDRVW] (\S+)", run("nm", "-D", "--defined-only", str(library)))
        assert exported and all(each.startswith("nf_") for each in exported), exported


def test_importing_imports_no_framework_and_is_quick():
    program = (
        "import sys; import nearfield; "
        "print([name for name in ('torch', 'numpy', 'jax', 'matplotlib') if name in sys.modules])"
    )
    assert run(sys.executable, "-c", program).strip() == "[]"
    # The number is printed, not asserted: tests prove behaviour, machines are noisy.
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import nearfield"], capture_output=True, text=True, check=True
    ).stderr
    total = [line.split("|")[1] for line in shown.splitlines() if line.split("|")[-1].strip() == "nearfield"]
    print(f"import nearfield: {int(total[0]) / 1000:.0f} ms")


def test_the_version_is_the_headers():
    import nearfield

    header = (Path(__file__).parents[2] / "include" / "nearfield" / "nearfield.h").read_text()
    parts = [re.search(rf"NF_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert nearfield.__version__ == ".".join(parts) == WHEEL.name.split("-")[1]
