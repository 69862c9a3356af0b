"""The layouts and constants of nearfield._abi and nearfield.patterns are those that a C compiler reads from the headers."""

import ctypes
import json
import os
import re
import shlex
import struct
import subprocess
from pathlib import Path

import nearfield as nf
import numpy as np
import pytest
from nearfield import _abi, _errors, _library, _options, _simulate, merging, patterns
from nearfield.geometry import PLAN_STEP

INCLUDE = Path(__file__).parents[2] / "include"
NAMES = ("nearfield.h", "patterns.h", "simulation.h", "unfused.h")
HEADERS = "".join((INCLUDE / "nearfield" / name).read_text() for name in NAMES)
HEADER = re.sub(r"/\*.*?\*/", "", HEADERS, flags=re.DOTALL)

# What has no counterpart in Python.
NOT_IN_PYTHON = {"nf_ragged", "nf_block", "nf_block_counts"}


def structs():
    """Every struct of the header: the names of its fields, in their order."""
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", HEADER, re.DOTALL):
        fields = found[name] = []
        for declaration in filter(None, map(str.strip, body.split(";"))):
            for each in declaration.split(","):
                fields.append(re.search(r"(\w+)\s*(\[\w+\])?$", each.strip())[1])
    return found


def enumerators():
    """Every enumerator and every number that is defined, in the header's order."""
    found = []
    for body in re.findall(r"typedef enum \w+ \{(.*?)\}", HEADER, re.DOTALL):
        found += re.findall(r"NF_\w+", body)
    return found + re.findall(r"#define (NF_\w+) \d+", HEADER)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What the C compiler says: {"structs": {name: {"": size, field: [offset, size]}}, "constants": {name: value}}."""
    folder = tmp_path_factory.mktemp("abi")
    lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <nearfield/nearfield.h>", "int main(void) {"]

    def put(text, *values):
        quoted = text.replace('"', '\\"')
        lines.append(f'  printf("{quoted}\\n"{"".join(f", (long long)({each})" for each in values)});')

    put('{"structs": {')
    for i, (name, fields) in enumerate(structs().items()):
        put(f'{"," if i else ""}"{name}": {{"": %lld', f"sizeof({name})")
        for field in fields:
            put(f',"{field}": [%lld, %lld]', f"offsetof({name}, {field})", f"sizeof((({name}*)0)->{field})")
        put("}")
    put('}, "constants": {')
    for i, name in enumerate(enumerators()):
        put(f'{"," if i else ""}"{name}": %lld', name)
    put("}}")
    lines += ["  return 0;", "}"]
    (folder / "layout.c").write_text("\n".join(lines))
    compiler = shlex.split(os.environ.get("CC", "cc"))
    program = folder / "layout"
    subprocess.run([*compiler, "-std=c11", f"-I{INCLUDE}", "-o", program, folder / "layout.c"], check=True)
    return json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout)


def read(compiled, name, memory, at=0):
    """The struct in the memory as C reads it: {field: bytes}."""
    fields = {field: each for field, each in compiled["structs"][name].items() if field}
    return {field: bytes(memory[at + offset : at + offset + size]) for field, (offset, size) in fields.items()}


def of(layout, *values):
    return struct.pack(f"={layout}", *values)


def packed_call():
    """Everything that a call of the library can have, each number another one: its memory, and what lies where."""
    tensors = [
        _abi.tensor_words("t", 100 + i, i % 5, range(10 * i, 10 * i + 6), range(-10 * i, 6 - 10 * i)) for i in range(20)
    ]
    pattern = nf.Neighborhood((3, 4, 5), (1, 2, 3), (6, 7, 8), (False, True, True), ("wrap", "cut", "clamp")).words(3)
    packed = _abi._pack(
        pattern,
        tensors[:8],
        _abi.Modifiers(*tensors[8:13], softcap=0.5),
        _abi.Options(scale=0.25, engine=1, isa=2, kernel=3, num_threads=4),
        tensors[13:],
    )
    memory = bytes(_abi._scratch.buffer)
    return tensors, packed, memory, _abi._scratch.address


def test_every_struct_of_the_header_is_compared():
    assert set(structs()) == NOT_IN_PYTHON | {
        "nf_tensor",
        "nf_pattern",
        "nf_neighborhood",
        "nf_window",
        "nf_curve",
        "nf_sphere",
        "nf_sphere_grid",
        "nf_modifiers",
        "nf_options",
        "nf_gradients",
        "nf_qk_gradients",
        "nf_av_gradients",
        "nf_merge_part",
        "nf_plan_step",
        "nf_explanation",
        "nf_rates",
        "nf_simulation",
        "nf_visits",
    }


def test_tensors(compiled):
    words = _abi.tensor_words("t", 7, _abi.FLOAT16, (1, 2, 3, 4, 5), (-1, 0, 6, 7, 8))
    memory = of(f"{len(words)}q", *words)
    assert len(memory) == compiled["structs"]["nf_tensor"][""] == _abi.TENSOR_WORDS * 8
    assert read(compiled, "nf_tensor", memory) == {
        "data": of("q", 7),
        "dtype": of("i", _abi.FLOAT16),
        "rank": of("i", 5),
        "sizes": of("6q", 1, 2, 3, 4, 5, 0),
        "strides": of("6q", -1, 0, 6, 7, 8, 0),
    }


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_neighborhoods(compiled, rank):
    pattern = nf.Neighborhood(
        (3, 4, 5)[:rank],
        (1, 2, 3)[:rank],
        (6, 7, 8)[:rank],
        (False, True, True)[:rank],
        ("wrap", "cut", "clamp")[:rank],
    )
    words = pattern.words(rank)
    memory = of(f"{len(words)}q", *words)
    size = compiled["structs"]["nf_neighborhood"][""]
    assert len(memory) == size

    def axes(layout, *values):
        return of(f"3{layout}", *values[:rank], *(0,) * (3 - rank))

    found = read(compiled, "nf_neighborhood", memory)
    head = read(compiled, "nf_pattern", found.pop("pattern"))
    kind = compiled["constants"]["NF_NEIGHBORHOOD"]
    assert head == {"struct_size": of("q", size), "kind": of("i", kind), "rank": of("i", rank)}
    assert found == {
        "kernel_size": axes("q", 3, 4, 5),
        "stride": axes("q", 1, 2, 3),
        "dilation": axes("q", 6, 7, 8),
        "is_causal": axes("i", 0, 1, 1),
        "boundary": axes("i", *(compiled["constants"][name] for name in ("NF_WRAP", "NF_CUT", "NF_CLAMP"))),
    }


def head_of(compiled, name, pattern):
    """What the pattern's head has to be, beside what it is."""
    head = {name: struct.unpack("=q" if len(each) == 8 else "=i", each)[0] for name, each in pattern.items()}
    kind = compiled["constants"][f"NF_{name.removeprefix('nf_').upper()}"]
    return head, {"struct_size": compiled["structs"][name][""], "kind": kind, "rank": head["rank"]}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_windows(compiled, rank):
    words = nf.Window((7, 8, 9)[:rank], (4, 5, 6)[:rank]).words(rank)
    memory = of(f"{len(words)}q", *words)
    found = read(compiled, "nf_window", memory)
    head, expected = head_of(compiled, "nf_window", read(compiled, "nf_pattern", found.pop("pattern")))
    assert head == expected and head["rank"] == rank and head["struct_size"] == len(memory)
    rest = (0,) * (3 - rank)
    assert found == {"size": of("3q", *(7, 8, 9)[:rank], *rest), "shift": of("3q", *(4, 5, 6)[:rank], *rest)}


CURVES = {
    nf.HilbertWindow(5, dilation=3, order="morton"): ("WINDOW", 25, 0, 1),
    nf.HilbertShiftedWindow(5, dilation=3, is_causal=True, order="row_major"): ("WINDOW", 25, 12, 1),
    nf.HilbertSlide(8, stride=6, dilation=3): ("SLIDE", 8, 0, 6),
    nf.HilbertNeighborhood(8, stride=6, dilation=3, is_causal=True, order="serpentine"): ("NEIGHBORHOOD", 8, 0, 6),
}


@pytest.mark.parametrize("pattern", CURVES, ids=repr)
def test_curves(compiled, pattern):
    form, size, shift, stride = CURVES[pattern]
    words = pattern.words(2)
    memory = of(f"{len(words)}q", *words)
    found = read(compiled, "nf_curve", memory)
    head, expected = head_of(compiled, "nf_curve", read(compiled, "nf_pattern", found.pop("pattern")))
    assert head == expected and head["rank"] == 2 and head["struct_size"] == len(memory)
    constants = compiled["constants"]
    assert found == {
        "order": of("i", constants[f"NF_{pattern.order.upper()}"]),
        "form": of("i", constants[f"NF_CURVE_{form}"]),
        "size": of("q", size),
        "shift": of("q", shift),
        "stride": of("q", stride),
        "dilation": of("q", 3),
        "is_causal": of("i", int(pattern.is_causal)),
        "reserved": of("i", 0),
    }


@pytest.mark.parametrize("is_global", [False, True])
def test_spheres(compiled, is_global):
    grids = nf.SphereGrid(5, 8, "lobatto"), nf.SphereGrid(9, 16, "equiangular-trapezoidal")
    settings = {} if is_global else {"cutoff": 2.5, "tolerance": 0.125}
    words = (nf.SphereGlobal if is_global else nf.SphereNeighborhood)(*grids, **settings).words(2)
    memory = of(f"{len(words)}q", *words)
    found = read(compiled, "nf_sphere", memory)
    head, expected = head_of(compiled, "nf_sphere", read(compiled, "nf_pattern", found.pop("pattern")))
    assert head == expected and head["rank"] == 2 and head["struct_size"] == len(memory)
    constants = compiled["constants"]
    for side, grid in zip(("query", "key"), grids, strict=True):
        kind = constants[f"NF_{grid.latitudes.upper().replace('-', '_')}"]
        assert read(compiled, "nf_sphere_grid", found.pop(side)) == {
            "latitudes": of("i", kind),
            "reserved": of("i", 0),
            "nlat": of("q", grid.nlat),
            "nlon": of("q", grid.nlon),
        }
    assert found == {
        "cutoff": of("d", settings.get("cutoff", 0.0)),
        "tolerance": of("d", settings.get("tolerance", 0.0)),
        "has_cutoff": of("i", not is_global),
        "is_global": of("i", is_global),
    }


def test_calls(compiled):
    tensors, packed, memory, start = packed_call()
    size = {name: each[""] for name, each in compiled["structs"].items()}

    def tensor_at(pointer):
        at = struct.unpack("=q", pointer)[0] - start
        return struct.unpack_from(f"={_abi.TENSOR_WORDS}q", memory, at)

    assert [tensor_at(of("q", each)) for each in packed.tensors] == [tuple(each) for each in tensors[:8]]
    assert packed.pattern == start

    modifiers = read(compiled, "nf_modifiers", memory, packed.modifiers - start)
    assert modifiers.pop("struct_size") == of("q", size["nf_modifiers"])
    assert modifiers.pop("softcap") == of("d", 0.5)
    assert list(modifiers) == list(_abi.Modifiers._fields[:5])
    assert [tensor_at(each) for each in modifiers.values()] == [tuple(each) for each in tensors[8:13]]

    assert read(compiled, "nf_options", memory, packed.options - start) == {
        "struct_size": of("q", size["nf_options"]),
        "has_scale": of("i", 1),
        "engine": of("i", 1),
        "scale": of("d", 0.25),
        "isa": of("i", 2),
        "kernel": of("i", 3),
        "num_threads": of("i", 4),
        "reserved": of("i", 0),
        "parallel_for": of("q", 0),
        "parallel_for_context": of("q", 0),
        "workspace": of("q", 0),
        "workspace_size": of("q", 0),
    }

    gradients = read(compiled, "nf_gradients", memory, packed.more - start)
    assert gradients.pop("struct_size") == of("q", size["nf_gradients"])
    assert list(gradients) == list(nf.numpy.Gradients._fields)
    assert [tensor_at(each) for each in gradients.values()] == [tuple(each) for each in tensors[13:]]


def test_rates_are_four_doubles(compiled):
    fields = {"per_key": [0, 8], "per_masked_key": [8, 8], "per_step": [16, 8], "per_tile": [24, 8]}
    assert compiled["structs"]["nf_rates"] == {"": 32, **fields}


@pytest.mark.parametrize(("name", "kind"), [("qk", nf.numpy.QkGradients), ("av", nf.numpy.AvGradients)])
def test_gradients_of_the_unfused_operators(compiled, name, kind):
    tensors = [_abi.tensor_words("t", 100 + i, 0, (i,), (1,)) for i in range(3 + len(kind._fields))]
    packed = _abi._pack(nf.Neighborhood(3).words(1), tensors[:3], _abi.NO_MODIFIERS, _abi.Options(), tensors[3:])
    memory, start = bytes(_abi._scratch.buffer), _abi._scratch.address
    found = read(compiled, f"nf_{name}_gradients", memory, packed.more - start)
    assert found.pop("struct_size") == of("q", compiled["structs"][f"nf_{name}_gradients"][""])
    assert list(found) == list(kind._fields)
    places = [struct.unpack("=q", each)[0] - start for each in found.values()]
    assert [struct.unpack_from("=q", memory, place)[0] for place in places] == [words[0] for words in tensors[3:]]


def test_parts_of_a_merge(compiled):
    """A table of pointers: out and logsumexp of the first part, of the second, ..."""
    assert compiled["structs"]["nf_merge_part"] == {"": 16, "out": [0, 8], "logsumexp": [8, 8]}


def test_explanations_and_plan_steps(compiled):
    for name, size, fields in (
        *(
            (
                name,
                ctypes.sizeof(kind),
                {f: (getattr(kind, f).offset, getattr(kind, f).size) for f, _ in kind._fields_},
            )
            for name, kind in (
                ("nf_explanation", _abi.Explanation),
                ("nf_visits", _simulate.Visits),
                ("nf_simulation", _simulate.Simulation),
            )
        ),
        ("nf_plan_step", PLAN_STEP.itemsize, {f: (at, d.itemsize) for f, (d, at) in PLAN_STEP.fields.items()}),
    ):
        expected = {field: tuple(each) for field, each in compiled["structs"][name].items() if field}
        assert size == compiled["structs"][name][""] and fields == expected, name
        assert list(fields) == structs()[name]


def test_constants(compiled):
    constants = compiled["constants"]
    assert {name: constants[f"NF_{name.upper()}"] for name in _abi.DTYPES} == _abi.DTYPES
    for prefix, names in (("NF_ENGINE", _options.ENGINES), ("NF_ISA", _options.ISAS), ("NF_KERNEL", _options.KERNELS)):
        assert {each: number for each, number in constants.items() if each.startswith(f"{prefix}_")} == {
            f"{prefix}_{name.upper()}": number for number, name in enumerate(names)
        }
    assert {name: constants[f"NF_{name.upper()}"] for name in patterns.BOUNDARIES} == {
        name: number for number, name in enumerate(patterns.BOUNDARIES)
    }
    assert {name: constants[f"NF_{name.upper()}"] for name in patterns.ORDERS} == {
        name: number for number, name in enumerate(patterns.ORDERS, 1)
    }
    assert [constants[f"NF_{name.upper().replace('-', '_')}"] for name in patterns.LATITUDES] == [0, 1, 2, 3]
    assert {name: constants[f"NF_CURVE_{name.upper()}"] for name in patterns.FORMS} == patterns.FORMS
    assert {name: constants[f"NF_{name.upper()}"] for name in patterns.KINDS} == patterns.KINDS
    assert [_options.name_of("nf_order_name", i) for i in range(1, 5)] == list(patterns.ORDERS)
    assert constants["NF_MAX_DIMS"] == _abi.MAX_DIMS
    assert constants["NF_MAX_GRID_RANK"] == patterns.MAX_RANK
    assert constants["NF_MAX_MERGE_PARTS"] == merging._MOST
    version = ".".join(str(constants[f"NF_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
    assert version == nf.__version__


def test_statuses(compiled):
    for name, error in (
        ("NF_INVALID_ARGUMENT", _errors.ArgumentError),
        ("NF_UNSUPPORTED", _errors.UnsupportedError),
        ("NF_OUT_OF_MEMORY", MemoryError),
        ("NF_INTERNAL_ERROR", RuntimeError),
    ):
        with pytest.raises(Exception) as raised:
            _library.fail(compiled["constants"][name])
        assert type(raised.value) is error
    assert compiled["constants"]["NF_OK"] == 0


def test_numbers_have_the_widths_that_are_packed():
    """What _abi packs is for machines whose pointers and size_t are words."""
    assert ctypes.sizeof(ctypes.c_void_p) == ctypes.sizeof(ctypes.c_size_t) == np.dtype(np.int64).itemsize == 8
