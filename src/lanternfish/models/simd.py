"""Vectors of lanes inside Numba kernels, and the machine operations that Numba does not name.

A ``Vector`` is a register of 4 or 8 float32, or of 8 int32 or uint32: LLVM's ``<8 x float>``, which
it maps to the widest registers that the processor has. It lives only inside compiled functions.
Its operators are lane by lane; a scalar beside a vector is broadcast.

Functions of this module take a scalar or a vector, so that one statement of an equation compiles
for both. Nothing here is re-associated, contracted or approximated: ``fma`` is the only fused
operation, and it rounds once everywhere, so that a kernel gives the same bits on every lane and on
every machine that follows IEEE 754.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import lower_builtin, register_model

_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.int32: ir.IntType(32),
    types.uint32: ir.IntType(32),
}


def intrinsic(function) -> Any:
    """Numba's ``intrinsic``: what is written here as typing and lowering is called with values."""
    return numba_intrinsic(function)


class Vector(types.Type):
    """Numba type of a register of ``lanes`` elements of one 32-bit ``dtype``."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")


@register_model(Vector)
class VectorModel(PrimitiveModel):
    """A vector is passed and stored as LLVM's own vector type."""

    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_ELEMENTS[fe_type.dtype], fe_type.lanes))


def _element(kind):
    return kind.dtype if isinstance(kind, Vector) else kind


def _with_element(kind, dtype):
    return Vector(dtype, kind.lanes) if isinstance(kind, Vector) else dtype


def _is_float(kind):
    return _element(kind) == types.float32


def _broadcast(builder, value, lanes):
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _cast(context, builder, value, given, wanted):
    """A scalar or vector of type ``given`` as the type ``wanted``: equal, or its broadcast."""
    if given == wanted:
        return value
    if isinstance(given, Vector):
        raise TypeError(f"Expected {wanted}; got {given}.")
    scalar = context.cast(builder, value, given, _element(wanted))
    return _broadcast(builder, scalar, wanted.lanes) if isinstance(wanted, Vector) else scalar


def _common(*kinds):
    """The type of an operation on these: that of the vector among them, else float32."""
    vectors = [kind for kind in kinds if isinstance(kind, Vector)]
    return vectors[0] if vectors else types.float32


_OPERATORS = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
}


def _register(function, names):
    @infer_global(function)  # pyright: ignore[reportOptionalCall]
    class VectorOperator(AbstractTemplate):
        def generic(self, args, kws):
            kind = _common(*args)
            known = all(k == kind or isinstance(k, types.Number) for k in args)
            if len(args) == 2 and isinstance(kind, Vector) and known:
                return signature(kind, *args)
            return None

    def lower(context, builder, signature, args):
        kind = signature.return_type
        left, right = (
            _cast(context, builder, value, given, kind)
            for value, given in zip(args, signature.args, strict=True)
        )
        return getattr(builder, names[0] if _is_float(kind) else names[1])(left, right)

    for arguments in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *arguments)(lower)


for _function, _names in _OPERATORS.items():
    _register(_function, _names)


def _llvm_function(builder, name, value_type, count):
    suffix = "f32"
    if isinstance(value_type, ir.VectorType):
        suffix = f"v{value_type.count}f32"
    signature = ir.FunctionType(value_type, [value_type] * count)
    return cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.{suffix}")


@intrinsic
def fma(typing_context, a, b, c):
    """a b + c, rounded once."""
    kind = _common(a, b, c)

    def lower(context, builder, signature, args):
        values = [
            _cast(context, builder, value, given, kind)
            for value, given in zip(args, signature.args, strict=True)
        ]
        return builder.call(_llvm_function(builder, "fma", values[0].type, 3), values)

    return kind(a, b, c), lower


@intrinsic
def sqrt(typing_context, x):
    """Square root, correctly rounded."""

    def lower(context, builder, signature, args):
        return builder.call(_llvm_function(builder, "sqrt", args[0].type, 1), args)

    return x(x), lower


def _selecting(predicate, doc):
    def function(typing_context, a, b):
        kind = _common(a, b)

        def lower(context, builder, signature, args):
            left = _cast(context, builder, args[0], signature.args[0], kind)
            right = _cast(context, builder, args[1], signature.args[1], kind)
            return builder.select(builder.fcmp_ordered(predicate, left, right), left, right)

        return kind(a, b), lower

    function.__doc__ = doc
    return function


minimum = intrinsic(_selecting("<", "The smaller of a and b; b where one of them is NaN."))
maximum = intrinsic(_selecting(">", "The larger of a and b; b where one of them is NaN."))


@intrinsic
def where_less(typing_context, a, b, yes, no):
    """``yes`` where a < b, else ``no``."""
    kind = _common(a, b, yes, no)

    def lower(context, builder, signature, args):
        left, right, first, second = (
            _cast(context, builder, value, given, kind)
            for value, given in zip(args, signature.args, strict=True)
        )
        return builder.select(builder.fcmp_ordered("<", left, right), first, second)

    return kind(a, b, yes, no), lower


@intrinsic
def times_power_of_two(typing_context, p, shifted):
    """p 2^n, where n is the integer that adding 1.5 2^23 left in the low bits of ``shifted``."""

    def lower(context, builder, signature, args):
        integer = context.get_value_type(_with_element(signature.return_type, types.int32))
        bits, n = (builder.bitcast(value, integer) for value in args)
        bits = builder.add(bits, builder.shl(n, _constant(integer, 23)))
        return builder.bitcast(bits, args[0].type)

    return p(p, p), lower


def _constant(kind, value):
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


@intrinsic
def mantissa_exponent(typing_context, x):
    """(m, e), both float32, with x = m 2^e and m in [2/3, 4/3); x positive and normal."""
    pair = types.UniTuple(x, 2)

    def lower(context, builder, signature, args):
        floating = args[0].type
        integer = context.get_value_type(_with_element(x, types.int32))
        bits = builder.bitcast(args[0], integer)
        above = builder.sub(bits, _constant(integer, 0x3F2AAAAB))
        exponent = builder.ashr(above, _constant(integer, 23))
        mantissa = builder.sub(bits, builder.shl(exponent, _constant(integer, 23)))
        values = (builder.bitcast(mantissa, floating), builder.sitofp(exponent, floating))
        return context.make_tuple(builder, pair, values)

    return pair(x), lower


@intrinsic
def hash_round(typing_context, x, shift, multiplier):
    """(x ^ x >> shift) multiplier mod 2^32, of uint32."""

    def lower(context, builder, signature, args):
        given = signature.args
        amount = _cast(context, builder, args[1], given[1], x)
        factor = _cast(context, builder, args[2], given[2], x)
        return builder.mul(builder.xor(args[0], builder.lshr(args[0], amount)), factor)

    return x(x, shift, multiplier), lower


@intrinsic
def exclusive_or(typing_context, a, b):
    """a ^ b of uint32."""

    def lower(context, builder, signature, args):
        return builder.xor(args[0], args[1])

    return a(a, a), lower


@intrinsic
def wrapping_add(typing_context, a, b):
    """a + b mod 2^32, of uint32."""

    def lower(context, builder, signature, args):
        return builder.add(args[0], _cast(context, builder, args[1], signature.args[1], a))

    return a(a, b), lower


@intrinsic
def high_bits(typing_context, x):
    """The upper 24 bits of a uint32, as a float32 in [0, 2^24)."""
    result = _with_element(x, types.float32)

    def lower(context, builder, signature, args):
        bits = builder.lshr(args[0], _constant(args[0].type, 8))
        return builder.sitofp(bits, context.get_value_type(result))

    return result(x), lower


@intrinsic
def sign_from(typing_context, x, bits):
    """x with its sign flipped where the lowest bit of ``bits`` is set."""

    def lower(context, builder, signature, args):
        integer = args[1].type
        sign = builder.shl(args[1], _constant(integer, 31))
        flipped = builder.xor(builder.bitcast(args[0], integer), sign)
        return builder.bitcast(flipped, args[0].type)

    return x(x, bits), lower


@intrinsic
def truncate(typing_context, x):
    """(n, x - n) of a vector of non-negative float32: n an int32, rounded towards 0."""
    integers = _with_element(x, types.int32)
    result = types.Tuple((integers, x))

    def lower(context, builder, signature, args):
        n = builder.fptosi(args[0], context.get_value_type(integers))
        rest = builder.fsub(args[0], builder.sitofp(n, args[0].type))
        return context.make_tuple(builder, result, (n, rest))

    return result(x), lower


def _pointer(context, builder, array_type, array, index, index_type, vector):
    data = context.make_array(array_type)(context, builder, array).data
    offset = context.cast(builder, index, index_type, types.intp)
    return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())


def _loading(lanes):
    def function(typing_context, array, i):
        kind = Vector(array.dtype, lanes)

        def lower(context, builder, signature, args):
            vector = context.get_value_type(kind)
            pointer = _pointer(context, builder, array, args[0], args[1], i, vector)
            return builder.load(pointer, align=4)

        return kind(array, i), lower

    function.__doc__ = f"Elements i to i + {lanes} of a flat contiguous array, as a vector."
    return function


def loader(lanes):
    """A function (array, i) -> elements i to i + lanes of a flat contiguous array, as a vector."""
    return intrinsic(_loading(lanes))


load4 = loader(4)
load8 = loader(8)


@intrinsic
def load_int(typing_context, array, i):
    """The int32 at element i of a flat contiguous array of any 32-bit type, as an intp."""

    def lower(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], i, ir.IntType(32))
        return builder.sext(builder.load(pointer, align=4), context.get_value_type(types.intp))

    return types.intp(array, i), lower


@intrinsic
def times(typing_context, vector, factor):
    """A vector of int32 times a number known when compiling."""

    def lower(context, builder, signature, args):
        return builder.mul(args[0], _cast(context, builder, args[1], factor, vector))

    return vector(vector, factor), lower


@intrinsic
def store(typing_context, array, i, vector):
    """Write a vector to elements i, i + 1, ... of a flat contiguous array."""

    def lower(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1], i, args[2].type)
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, i, vector), lower


@intrinsic
def splat8(typing_context, x):
    """A vector of eight copies of a float32."""
    kind = Vector(types.float32, 8)

    def lower(context, builder, signature, args):
        return _broadcast(builder, args[0], 8)

    return kind(x), lower


def shuffler(*lanes):
    """A function (a, b) -> the vector whose lanes are these of a, then b, counted through both."""

    @intrinsic
    def shuffle(typing_context, a, b):
        kind = Vector(a.dtype, len(lanes))

        def lower(context, builder, signature, args):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
            return builder.shuffle_vector(args[0], args[1], mask)

        return kind(a, b), lower

    return shuffle
