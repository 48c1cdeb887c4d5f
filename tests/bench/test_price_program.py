"""What is read from XLA's text of a program: texts written by hand, and programs of the CPU."""

import jax
import jax.numpy as jnp
import pytest

from lecture_opt.bench.price import hlo, program

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
