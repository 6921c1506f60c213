"""Arrays, numbers, text and containers of them out of `.npy` files that hold a pickle.

suite2p keeps `stat.npy` and `ops.npy` as pickled objects. A pickle is a program; here it is read
opcode by opcode by a machine of our own that imports nothing and calls nothing. Names are text to
it: those by which NumPy writes arrays, types and scalars are understood (we make the arrays, from
bytes of the right number), a few harmless ones (dates, paths) are kept as `Unread`, and any other
is refused.

Reference: PEP 307 and PEP 3154; NumPy Enhancement Proposal 1 for `.npy`.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

LARGEST = 2 * 10**9  # bytes of one file
CORES = ("numpy.core", "numpy._core")  # before NumPy 2, and since
ARRAY = {f"{core}.multiarray._reconstruct" for core in CORES}
SCALAR = {f"{core}.multiarray.scalar" for core in CORES}
BUFFER = {f"{core}.numeric._frombuffer" for core in CORES}
BUILTINS = ("builtins", "__builtin__")
KNOWN = ARRAY | SCALAR | BUFFER | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
HARMLESS = (  # told of in settings
    *("datetime.datetime", "datetime.date", "datetime.timedelta", "datetime.timezone"),
    *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath")),
    *("pathlib._local.PosixPath", "pathlib._local.WindowsPath", "zoneinfo.ZoneInfo._unpickle"),
    *(f"{room}.{kind}" for room in BUILTINS for kind in ("bytes", "set", "frozenset")),
    "collections.OrderedDict",
)
KIND = re.compile(r"([<>|=]?)([biufc])(1|2|4|8|16)|([<>|=]?)([USO])(\d*)")
TEXT = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
OLD = ("STRING", "BINSTRING", "SHORT_BINSTRING")
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
VALUES = {*TEXT, *BYTES, *OLD, *NUMBERS}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class PickledError(ValueError):
    """A file that is not, or is more than, arrays, numbers and text; the text is for the user."""


@dataclass(frozen=True)
class Name:
    """A name that a pickle asks for; nothing is imported."""

    text: str


@dataclass(frozen=True)
class Unread:
    """An object of a harmless class, which was not made."""

    kind: str


class Kind:
    """A type of numbers, as NumPy pickles it: "f4", and then its byte order."""

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or not KIND.fullmatch(text):
            raise PickledError(f"a type of values {text!r:.40}")
        self.text = text.lstrip("<>|=")

    def build(self, state: Any) -> None:
        order, size = state[1], state[5]
        if self.text[0] in "US":
            width = int(size) // (4 if self.text[0] == "U" else 1)
            self.text = f"{self.text[0]}{max(width, 0)}"
        if order not in ("<", ">", "|", "=") or state[3] is not None or state[4] is not None:
            raise PickledError("values with fields")
        self.text = ("" if self.text[0] == "O" else order) + self.text

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.text)


class Array:
    """An array that is being read; `values` once it is."""

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def build(self, state: Any) -> None:
        shape, kind, fortran, data = state[-4:]
        self.values = array_of(shape, kind, bool(fortran), data)


def array_of(shape: Any, kind: Any, fortran: bool, data: Any) -> np.ndarray:
    """An array of a shape from bytes, or from a list of objects.

    Raises:
        PickledError: their number does not fit the shape.
    """
    if not isinstance(kind, Kind) or not isinstance(shape, tuple):
        raise PickledError("an array without a type")
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise PickledError("an array without a shape")
    count, dtype = math.prod(shape), kind.dtype
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != count:
            raise PickledError("an array whose number of values is not that of its shape")
        values = np.empty(count, object)
        for place, each in enumerate(data):
            values[place] = each
    else:
        if isinstance(data, str):
            data = data.encode("latin-1")
        if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.itemsize:
            raise PickledError("an array whose number of bytes is not that of its shape")
        values = np.frombuffer(data, dtype).copy() if dtype.itemsize else np.empty(count, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def plain(value: Any) -> Any:
    """What stands for a value that was read: arrays as NumPy's, the others as they are."""
    if isinstance(value, Array):
        if value.values is None:
            raise PickledError("an array without values")
        return value.values
    return value


class Machine:
    """Reads one pickle; `run` gives what it holds."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.mark = object()
        self.steps: dict[str, Callable[[Any], object]] = {
            "PROTO": lambda _: None, "FRAME": lambda _: None,
            "MARK": lambda _: self.stack.append(self.mark),
            "POP": lambda _: self.stack.pop(), "POP_MARK": lambda _: self._since(),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "EMPTY_SET": lambda _: self.stack.append([]),  # its order is nobody's business
            "LIST": lambda _: self.stack.append(self._since()),
            "TUPLE": lambda _: self.stack.append(tuple(self._since())),
            "FROZENSET": lambda _: self.stack.append(tuple(self._since())),
            "DICT": lambda _: self._fill({}, self._since(), push=True),
            "TUPLE1": lambda _: self._tuple(1), "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "APPEND": lambda _: self._append([self.stack.pop()]),
            "APPENDS": lambda _: self._append(self._since()),
            "ADDITEMS": lambda _: self._append(self._since()),
            "SETITEM": lambda _: self._item(),
            "SETITEMS": lambda _: self._items(),
            "MEMOIZE": lambda _: self._keep(len(self.memo)),
            "GLOBAL": lambda text: self._name(text.replace(" ", ".", 1)),
            "STACK_GLOBAL": lambda _: self._name(".".join(map(str, self._last(2)))),
            "REDUCE": lambda _: self._reduce(), "NEWOBJ": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
        }  # fmt: skip
        self.steps |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self._keep)
        self.steps |= dict.fromkeys(
            ("GET", "BINGET", "LONG_BINGET"), lambda place: self.stack.append(self.memo[place])
        )

    def run(self, data: bytes) -> Any:
        """What a pickle holds.

        Raises:
            PickledError: it asks for more than arrays, numbers and text, or is damaged.
        """
        try:
            for opcode, value, _ in pickletools.genops(data):
                if opcode.name == "STOP":
                    return plain(self.stack.pop())
                if opcode.name in VALUES:
                    self.stack.append(value)
                elif opcode.name in CONSTANTS:
                    self.stack.append(CONSTANTS[opcode.name])
                elif opcode.name in self.steps:
                    self.steps[opcode.name](value)
                else:
                    raise PickledError(f"an object ({opcode.name})")
        except PickledError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as e:
            raise PickledError(f"something damaged ({type(e).__name__}: {str(e)[:80]})") from None
        raise PickledError("a beginning without an end")

    def _since(self) -> list:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is self.mark:
                found = self.stack[place + 1 :]
                del self.stack[place:]
                return found
        raise PickledError("something damaged")

    def _last(self, count: int) -> list:
        if len(self.stack) < count:
            raise PickledError("something damaged")
        found = self.stack[-count:]
        del self.stack[-count:]
        return found

    def _tuple(self, count: int) -> None:
        self.stack.append(tuple(self._last(count)))

    def _append(self, more: list) -> None:
        if not isinstance(self.stack[-1], list):
            raise PickledError("an object that takes values")
        self.stack[-1].extend(more)

    def _item(self) -> None:
        more = self._last(2)
        self._fill(self.stack[-1], more)

    def _items(self) -> None:
        more = self._since()
        self._fill(self.stack[-1], more)

    def _fill(self, found: Any, more: list, push: bool = False) -> None:
        if not isinstance(found, dict):
            raise PickledError("an object that takes values")
        found.update(zip(more[::2], more[1::2], strict=True))
        if push:
            self.stack.append(found)

    def _keep(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _name(self, text: str) -> None:
        if text not in KNOWN and text not in HARMLESS:
            raise PickledError(f"the name {text[:80]}, which is none of an array")
        self.stack.append(Name(text))

    def _reduce(self) -> None:
        name, given = self._last(2)
        if not isinstance(name, Name) or not isinstance(given, tuple):
            raise PickledError("a call")
        self.stack.append(made_of(name.text, given))

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Kind | Array | Unread):
            raise PickledError("an object with a state")
        if not isinstance(self.stack[-1], Unread):
            self.stack[-1].build(state)


def made_of(name: str, given: tuple) -> Any:
    """What a pickle's call stands for: made by us, or left unread."""
    if name in ARRAY:
        return Array()
    if name == "numpy.dtype":
        return Kind(given[0])
    if name in SCALAR:
        return array_of((), given[0], False, _listed(*given))[()]
    if name in BUFFER:
        data, kind, shape, order = given
        made = Array()
        made.values = array_of(shape, kind, order == "F", data)
        return made
    if name == "_codecs.encode":
        return str(given[0]).encode("latin-1")
    if name == "collections.OrderedDict":
        return {}
    if name.startswith(BUILTINS):
        more = list(given[0]) if given else []
        return b"" if name.endswith("bytes") and not more else more
    if name in HARMLESS:
        return Unread(name)
    raise PickledError(f"a call of {name}")


def _listed(kind: Any, data: Any) -> Any:
    """A scalar's object as a list of one, where it is none of bytes."""
    return [data] if isinstance(kind, Kind) and kind.text == "O" else data


def read_array(file: IO[bytes], name: str) -> np.ndarray:
    """The array of an open `.npy` file, of numbers or of objects.

    Raises:
        PickledError: with a sentence for the user.
    """
    try:
        version = np.lib.format.read_magic(file)
        head = {(1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0}.get(version)  # fmt: skip
        if head is None:
            raise ValueError(f"version {version} of the format")
        shape, fortran, dtype = head(file)
        if dtype.kind != "O":
            return _numbers(file, shape, fortran, dtype)
        data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise PickledError(f"more than {LARGEST / 1e9:g} GB")
        found = Machine().run(data)
        if not isinstance(found, np.ndarray):
            raise PickledError("no array")
        return found
    except PickledError as error:
        raise PickledError(
            f"Expected arrays, numbers and text alone in {name}, as suite2p writes it; it holds "
            f"{error}: it was not loaded. Take the file as suite2p wrote it."
        ) from None
    except (ValueError, OSError, EOFError) as error:
        raise PickledError(
            f"Expected a file of NumPy; {name} cannot be read ({str(error)[:120]}): it is damaged "
            "or was cut off: copy it again."
        ) from None


def _numbers(file: IO[bytes], shape: tuple, fortran: bool, dtype: np.dtype) -> np.ndarray:
    if dtype.kind not in "biufcUS" or dtype.hasobject:
        raise ValueError(f"values of type {dtype}")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > LARGEST * 8:
        raise ValueError(f"{wanted / 1e9:.0f} GB")
    data = file.read(wanted)
    if len(data) != wanted:
        raise ValueError(f"{wanted} bytes are told of, {len(data)} are there")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_objects(file: IO[bytes], name: str) -> Any:
    """The only object of an open `.npy` file of none, as `np.save` writes a dictionary."""
    found = read_array(file, name)
    return plain(found[()]) if found.shape == () else found
