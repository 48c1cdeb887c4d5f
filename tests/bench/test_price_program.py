"""What is read from XLA's text of a program: texts written by hand, and programs of the CPU."""

import jax
import jax.numpy as jnp
import pytest

from lecture_opt.bench.price import flops, hlo, program

FUSIONS = """HloModule jit_step

%looks_at_a_slice (p0: f32[100,8], p1: s32[]) -> f32[1,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = f32[1,8]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,8}
}

%changes_in_place (p0: f32[100,8], p1: f32[1,8], p2: s32[]) -> f32[100,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[1,8]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %new = f32[100,8]{1,0} dynamic-update-slice(%p0, %p1, %p2, %zero)
}

%both (p0: f32[4], p1: bf16[4]) -> (f32[4], bf16[4]) {
  %p0 = f32[4]{0} parameter(0)
  %p1 = bf16[4]{0} parameter(1)
  %wide = f32[4]{0} convert(%p1)
  %sum = f32[4]{0} add(%p0, %wide)
  %narrow = bf16[4]{0} convert(%sum)
  ROOT %tuple = (f32[4]{0}, bf16[4]{0}) tuple(%sum, %narrow)
}

ENTRY %main (table: f32[100,8], i: s32[], a: f32[4], b: bf16[4]) -> (f32[100,8], f32[4], bf16[4]) {
  %table = f32[100,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %a = f32[4]{0} parameter(2)
  %b = bf16[4]{0} parameter(3)
  %row = f32[1,8]{1,0} fusion(%table, %i), kind=kLoop, calls=%looks_at_a_slice
  %next = f32[100,8]{1,0} fusion(%table, %row, /*index=2*/%i), kind=kLoop, calls=%changes_in_place
  %pair = (f32[4]{0}, bf16[4]{0}) fusion(%a, %b), kind=kLoop, calls=%both, metadata={op_name="f(x)"}
  %first = f32[4]{0} get-tuple-element(%pair), index=0
  %second = bf16[4]{0} get-tuple-element(%pair), index=1
  ROOT %out = (f32[100,8]{1,0}, f32[4]{0}, bf16[4]{0}) tuple(%next, %first, %second)
}
"""


ON_TPU = """
%keeps_one_aside (p0: f32[3,100], p1: f32[3,100], p2: f32[]) -> (f32[3,100], f32[3,100]) {
  %p0 = f32[3,100]{1,0:T(4,128)S(1)} parameter(0)
  %p1 = f32[3,100]{1,0:T(4,128)} parameter(1)
  %p2 = f32[]{:T(128)S(6)} parameter(2)
  %a = f32[3,100]{1,0:T(4,128)} add(%p0, %p1)
  %b = f32[3,100]{1,0:T(4,128)S(1)} multiply(%p0, %p1)
  ROOT %both = (f32[3,100]{1,0:T(4,128)}, f32[3,100]{1,0:T(4,128)S(1)}) tuple(%a, %b)
}

ENTRY %main (x: f32[3,100], y: f32[3,100], n: f32[]) -> (f32[3,100], f32[3,100]) {
  %x = f32[3,100]{1,0:T(4,128)} parameter(0)
  %y = f32[3,100]{1,0:T(4,128)} parameter(1)
  %n = f32[]{:T(128)} parameter(2)
  %in = (f32[3,100]{1,0:T(4,128)S(1)}, f32[3,100]{1,0:T(4,128)}, u32[]{:S(2)}) copy-start(%x)
  %m = f32[]{:T(128)S(6)} negate(%n)
  %there = f32[3,100]{1,0:T(4,128)S(1)} copy-done(%in)
  %pair = (f32[3,100]{1,0:T(4,128)}, f32[3,100]{1,0:T(4,128)S(1)}) fusion(%there, %y, %m), kind=kLoop, calls=%keeps_one_aside
  %a = f32[3,100]{1,0:T(4,128)} get-tuple-element(%pair), index=0
  %b = f32[3,100]{1,0:T(4,128)S(1)} get-tuple-element(%pair), index=1
  %out = (f32[3,100]{1,0:T(4,128)}, f32[3,100]{1,0:T(4,128)S(1)}, u32[]{:S(2)}) copy-start(%b)
  %back = f32[3,100]{1,0:T(4,128)} copy-done(%out)
  ROOT %all = (f32[3,100]{1,0:T(4,128)}, f32[3,100]{1,0:T(4,128)}) tuple(%a, %back)
}
"""  # noqa: E501


def test_what_a_tpu_keeps_in_its_core_is_read_once_and_whole_tiles_count():
    kernels, _ = program.read(ON_TPU, devices=1)
    tile = 4 * 4 * 128
    assert [(one.name, one.read, one.written, one.aside) for one in kernels] == [
        ("in", tile, 0, True),
        ("pair", tile, tile, False),
        ("out", 0, tile, True),
    ]
    assert kernels[1].arguments == (0, 1)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[1000]{0:T(1024)}", 4_096),
        ("f32[]{:T(128)}", 512),
        ("f32[3,3,8,16]{3,2,1,0:T(8,128)}", 9 * 4_096),
        ("f32[256,64]{0,1:T(8,128)}", 256 * 64 * 4),
        ("f32[256,64]{1,0:T(8,128)S(1)}", 256 * 128 * 4),
        ("bf16[32,64]{1,0:T(8,128)(2,1)}", 32 * 128 * 2),
        ("(pred[9]{0:T(512)}, u32[]{:S(2)})", 512 + 4),
    ],
)
def test_a_tpu_s_arrays_fill_whole_tiles(shape, size):
    assert hlo.size(shape) == size


def entry(*lines):
    """A program of these instructions."""
    return "ENTRY %main () -> f32[] {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def test_a_fusion_reads_and_writes_what_it_touches():
    kernels, collectives = program.read(FUSIONS, devices=1)
    row, table, pair = kernels
    assert (row.name, row.read, row.written) == ("row", 32 + 4, 32)
    assert (table.read, table.written) == (32 + 32 + 4, 32)  # not the 3,200 of the table
    assert (pair.read, pair.written) == (16 + 8, 16 + 8)
    assert [kernel.arguments for kernel in kernels] == [(0, 1), (0, 1), (2, 3)]
    assert collectives == ()


LOOP = """
%body (c: (s32[], f32[8])) -> (s32[], f32[8]) {
  %c = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %x = f32[8]{0} get-tuple-element(%c), index=1
  %y = f32[8]{0} negate(%x)
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %y)
}

%more (c: (s32[], f32[8])) -> pred[] {
  %c = (s32[], f32[8]{0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

%cheap (p: f32[8]) -> f32[8] {
  ROOT %p = f32[8]{0} parameter(0)
}

%dear (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %n = f32[8]{0} exponential(%p)
}

ENTRY %main (start: (s32[], f32[8]), which: pred[]) -> f32[8] {
  %start = (s32[], f32[8]{0}) parameter(0)
  %which = pred[] parameter(1)
  %loop = (s32[], f32[8]{0}) while(%start), condition=%more, body=%body, backend_config={COUNT}
  %x = f32[8]{0} get-tuple-element(%loop), index=1
  ROOT %z = f32[8]{0} conditional(%which, %x, %x), true_computation=%cheap, false_computation=%dear
}
"""


@pytest.mark.parametrize(("count", "times"), [('"known_trip_count":{"n":"7"}', 7), ("", 1)])
def test_a_loop_counts_its_turns_and_a_conditional_its_dearest_branch(count, times):
    kernels, _ = program.read(LOOP.replace("COUNT", count), devices=1)
    assert [(kernel.name, kernel.times, kernel.read) for kernel in kernels] == [
        ("y", times, 32),
        ("n", 1, 32),
    ]


@pytest.mark.parametrize(
    ("line", "kind", "sent"),
    [
        ("ROOT %y = f32[8]{0} all-reduce(%x), to_apply=%add", "all-reduce", 2 * 3 / 4 * 32),
        (
            "ROOT %y = (f32[8]{0}, f32[32]{0}) all-gather-start(%x), dimensions={0}",
            "all-gather",
            3 * 32,
        ),
        ("ROOT %y = f32[2]{0} reduce-scatter(%x), to_apply=%add", "reduce-scatter", 3 / 4 * 32),
        (
            "ROOT %y = f32[8]{0} collective-permute(%x), source_target_pairs={}",
            "collective-permute",
            32,
        ),
    ],
)
def test_a_collective_sends_what_a_ring_of_four_sends(line, kind, sent):
    kernels, (found,) = program.read(entry("%x = f32[8]{0} parameter(0)", line), devices=4)
    assert kernels == ()
    assert found == (kind, sent, 1)


GEMM = (
    '(f32[4,6]{1,0}, s8[4194304]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", '
    'backend_config={"gemm_backend_config":{"dot_dimension_numbers":'
    '{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}'
)
IMAGES, FILTERS = "f32[8,16,16,3]{3,2,1,0}", "f32[16,3,3,3]{3,2,1,0}"
OUTPUT = "f32[8,16,16,16]{3,2,1,0}"
CONVOLUTION = 'dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$conv'
PRODUCTS = [
    ("f32[4,5]{1,0}", "f32[5,6]{1,0}", GEMM, 2 * 4 * 5 * 6, 4 * 6 * 4),
    (
        "f32[4,5]{1,0}",
        "f32[5,6]{1,0}",
        "f32[4,6]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        2 * 4 * 5 * 6,
        4 * 6 * 4,
    ),
    (
        IMAGES,
        FILTERS,
        f'({OUTPUT}, u8[0]{{0}}) custom-call(%a, %b), {CONVOLUTION}Forward"',
        2 * 8 * 16 * 16 * 16 * 27,
        8 * 16 * 16 * 16 * 4,
    ),
    (
        IMAGES,
        OUTPUT,
        f'({FILTERS}, u8[0]{{0}}) custom-call(%a, %b), {CONVOLUTION}BackwardFilter"',
        2 * 8 * 16 * 16 * 16 * 27,
        16 * 27 * 4,
    ),
    (
        OUTPUT,
        FILTERS,
        f'({IMAGES}, u8[0]{{0}}) custom-call(%a, %b), {CONVOLUTION}BackwardInput"',
        2 * 8 * 16 * 16 * 16 * 27,
        8 * 16 * 16 * 3 * 4,
    ),
]


@pytest.mark.parametrize(("a", "b", "call", "flops", "written"), PRODUCTS)
def test_a_product_s_operations_are_counted_and_its_scratch_memory_is_not(
    a, b, call, flops, written
):
    given = (f"%a = {a} parameter(0)", f"%b = {b} parameter(1)")
    ((kernel,), _) = program.read(entry(*given, f"ROOT %c = {call}"), devices=1)
    assert (kernel.flops, kernel.written) == (flops, written)
    assert kernel.read == hlo.size(a) + hlo.size(b)


@pytest.mark.parametrize("given", [1, 4, 7])
@pytest.mark.parametrize("kernel", [1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [-1, 0, 2])
@pytest.mark.parametrize(("spread", "dilation"), [(1, 1), (2, 1), (4, 3), (6, 2)])
def test_pairs_of_a_convolution_are_those_that_meet(given, kernel, stride, pad, spread, dilation):
    result = 6
    places = [o * stride + k * dilation - pad for o in range(result) for k in range(kernel)]
    meet = [at for at in places if at % spread == 0 and 0 <= at // spread < given]
    window = {"stride": stride, "pad": pad, "spread": spread, "dilation": dilation}
    assert flops.pairs(given, kernel, result, **window) == len(meet)


@pytest.mark.parametrize(
    ("a", "b", "call", "operations"),
    [
        (
            "f32[16,5,6]{2,1,0}",
            "f32[16,7,6]{2,1,0}",
            "f32[16,5,7]{2,1,0} convolution(%a, %b), window={size=16 stride=15 lhs_dilate=16}, "
            "dim_labels=0bf_0oi->0bf",
            16 * 2 * 5 * 6 * 7,
        ),
        (
            "f32[5,6]{1,0}",
            "f32[6,7]{1,0}",
            "f32[5,7]{1,0} convolution(%a, %b), dim_labels=bf_io->bf",
            2 * 5 * 6 * 7,
        ),
        (
            IMAGES,
            FILTERS,
            f"{OUTPUT} convolution(%a, %b), window={{size=3x3 pad=1_1x1_1}}, "
            "dim_labels=b01f_o01i->b01f",
            2 * 8 * 16 * 3 * (3 * 16 - 2) ** 2,
        ),
    ],
)
def test_a_convolution_of_a_tpu_counts_what_meets(a, b, call, operations):
    given = (f"%a = {a} parameter(0)", f"%b = {b} parameter(1)")
    ((kernel,), _) = program.read(entry(*given, f"ROOT %c = {call}"), devices=1)
    assert kernel.flops == operations


def test_a_program_of_this_machine_is_read_too():
    def chain(x):
        return jax.lax.scan(lambda c, _: (jnp.tanh(c @ c), None), x, None, length=7)[0]

    compiled = jax.jit(chain).lower(jnp.eye(8)).compile()
    kernels, _ = program.read(compiled.as_text(), devices=1)
    assert sum(k.times * k.flops for k in kernels) == 7 * 2 * 8**3


@pytest.mark.parametrize(
    ("shape", "size"),
    [("f8e4m3fn[3]{0}", 3), ("s4[3]{0}", 2), ("c64[2]{0}", 16), ("token[]", 0), ("pred[2,3]", 6)],
)
def test_the_size_of_a_shape(shape, size):
    assert hlo.size(shape) == size
