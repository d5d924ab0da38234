"""Reads a state dict that torch.save pickled, with an own interpreter that runs no code.

A pickle is a program. This interpreter has only the opcodes that torch.save writes, keeps plain
values, and calls nothing; it refuses a pickle that names any other function. Python's unpickler,
even restricted to these names, sets attributes, hashes keys of any shape and allocates as much
memory as the file requests; `torch.load(weights_only=True)` has its own interpreter too. Needs no
torch.
"""

import pickletools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, cast

import numpy as np

MAX_PICKLE_BYTES = 1 << 24
MAX_OPCODES = 100_000
"""A tensor needs about 25; EfficientNet-lite0 has 300 tensors."""
MAX_RANK = 32
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
"""Classes of module `torch` -> dtype of their bytes."""
_VIEW = 5
"""Index at which torch before 0.4 described a storage that is part of another."""
_DICT = ("collections", "OrderedDict")
_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_PUSHED = frozenset(
    [
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "BININT",
        "BININT1",
        "BININT2",
        "FLOAT",
        "BINFLOAT",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
    ]
)
_CALLS = frozenset(["INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"])
"""Opcodes that create an object of any class; torch.save writes none for a state dict."""


class ForbiddenNameError(Exception):
    """The pickle requests something that no state dict needs; it was not executed."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A sequence of numbers; tensors are views of it."""

    key: str
    dtype: str
    length: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.length * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def require_inside(self) -> None:
        """Refuse a tensor that exceeds its storage or repeats its numbers.

        Raises:
            ValueError: it does.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or len(self.shape) != len(self.strides) or len(self.shape) > MAX_RANK:
            shown = ", ".join(_shown(number) for number in numbers[: 2 * MAX_RANK])
            raise ValueError(f"a tensor has the place ({shown})")
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((side - 1) * stride for side, stride in steps)
        if 0 not in self.shape and last >= self.storage.length:
            raise ValueError(f"a tensor ends at {last} of a storage of {self.storage.length}")
        if prod(self.shape) > self.storage.length:
            raise ValueError(
                f"a tensor shows {prod(self.shape)} numbers of a storage of {self.storage.length}"
            )


def load_plain(file: BinaryIO) -> Any:
    """Return the next pickle of `file`; see `load_tensors`."""
    return _Machine().run(file)


def load_tensors(file: BinaryIO) -> dict[str, Tensor]:
    """Return the tensors of the state dict that is the next pickle of `file`, by name.

    Raises:
        ForbiddenNameError: it requests anything else; nothing of it was executed.
        ValueError: it is something else. Bytes that are not a pickle raise what pickle raises.
    """
    found = load_plain(file)
    is_state = isinstance(found, Mapping) and all(isinstance(name, str) for name in found)
    others = (
        [type(v).__name__ for v in found.values() if not isinstance(v, Tensor)] if is_state else []
    )
    if not is_state or others or not found:
        kind = f"{type(found).__name__} with {others[0]}" if others else type(found).__name__
        raise ValueError(
            f"expected a state dict, names and their tensors; received {kind}: save "
            "model.state_dict() alone"
        )
    for tensor in found.values():
        tensor.require_inside()
    return dict(found)


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in the pickle: a class of storages, or one of the two allowed functions."""

    module: str
    name: str


class _Machine:
    """A stack, its marks and a memo, as pickletools describes them."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """Return the value of the next pickle; the stream is then at the byte after it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools warns about escapes in names.
            opcodes = pickletools.genops(cast("Any", _Bounded(file)))
            for number, (opcode, argument, _) in enumerate(opcodes):
                if number >= MAX_OPCODES:
                    raise ValueError(f"the pickle has more than {MAX_OPCODES} operations")
                if opcode.name == "STOP":
                    break
                self._execute(opcode.name, argument)
        return self._stack.pop()

    def _execute(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSHED:
            self._stack.append(argument)
        elif not (self._makes(opcode) or self._fills(opcode) or self._recalls(opcode, argument)):
            self._names(opcode, argument)

    def _makes(self, opcode: str) -> bool:
        """Push a constant, an empty container or a tuple; returns whether `opcode` does that."""
        made: Any
        match opcode:
            case "NONE":
                made = None
            case "NEWTRUE" | "NEWFALSE":
                made = opcode == "NEWTRUE"
            case "EMPTY_DICT":
                made = {}
            case "EMPTY_LIST":
                made = []
            case "EMPTY_TUPLE":
                made = ()
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                made = tuple([self._stack.pop() for _ in range(int(opcode[-1]))][::-1])
            case "TUPLE":
                made = tuple(self._marked())
            case "LIST":
                made = self._marked()
            case "DICT":
                made = _filled({}, self._marked())
            case _:
                return False
        self._stack.append(made)
        return True

    def _fills(self, opcode: str) -> bool:
        """Fill the container on the stack; returns whether `opcode` does that."""
        match opcode:
            case "MARK":
                self._marks.append(len(self._stack))
            case "APPEND":
                value = self._stack.pop()
                self._top(list).append(value)
            case "APPENDS":
                values = self._marked()
                self._top(list).extend(values)
            case "SETITEM":
                value, key = self._stack.pop(), self._stack.pop()
                _filled(self._top(dict), [key, value])
            case "SETITEMS":
                values = self._marked()
                _filled(self._top(dict), values)
            case "BUILD":
                # The attribute `_metadata` of a state dict is not used.
                self._stack.pop()
                self._top(dict)
            case _:
                return False
        return True

    def _recalls(self, opcode: str, argument: Any) -> bool:
        match opcode:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[argument])
            case "PROTO" | "FRAME":
                pass
            case _:
                return False
        return True

    def _names(self, opcode: str, argument: Any) -> None:
        """Push a name, or the result of one of the two functions that a state dict calls."""
        match opcode:
            case "GLOBAL":
                self._stack.append(_allowed(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = self._stack.pop(), self._stack.pop()
                self._stack.append(_allowed(module, name))
            case "REDUCE":
                arguments, function = self._stack.pop(), self._stack.pop()
                self._stack.append(_called(function, arguments))
            case "BINPERSID":
                self._stack.append(_storage(self._stack.pop()))
            case _ if opcode in _CALLS:
                raise ForbiddenNameError(str(argument or opcode)[:200].replace(" ", "."))
            case _:
                raise ValueError(f"torch.save writes no operation {opcode}")

    def _marked(self) -> list[Any]:
        """Pop and return the values above the last mark."""
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise ValueError(
                f"expected a {kind.__name__}; received {type(self._stack[-1]).__name__}"
            )
        return self._stack[-1]


def _allowed(module: Any, name: Any) -> _Name:
    known = (module, name) in {_DICT, _TENSOR} or (module == "torch" and name in _DTYPES)
    if not known:
        raise ForbiddenNameError(f"{module!s:.100}.{name!s:.100}")
    return _Name(module, name)


def _called(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or type(arguments) is not tuple:
        raise ValueError(f"expected a function; received {type(function).__name__}")
    called = (function.module, function.name)
    if called == _DICT:
        pairs = arguments[0] if arguments else []
        return _filled({}, [part for pair in pairs for part in pair])
    if called != _TENSOR:
        raise ValueError(f"{function.name} is no function")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage):
        raise TypeError(f"a tensor rests on {type(storage).__name__}, no storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _filled(target: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
    """Add alternating keys and values to `target` and return it."""
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Keys that are nested in themselves take forever to hash.
        if type(key) not in {str, int}:
            raise ValueError(f"expected names as keys; received {type(key).__name__}")
        target[key] = value
    return target


def _storage(reference: Any) -> Storage:
    if type(reference) is not tuple or len(reference) < _VIEW:
        received = f"a tuple of {len(reference)}" if type(reference) is tuple else _shown(reference)
        raise ValueError(
            f"expected a tuple of {_VIEW} entries as the reference to a storage; received "
            f"{received}"
        )
    kind, dtype, key, _, length = reference[:_VIEW]
    known = kind == "storage" and isinstance(dtype, _Name) and dtype.name in _DTYPES
    if not known or type(key) is not str or type(length) is not int or length < 0:
        raise ValueError(
            f"unknown reference to a storage: {', '.join(map(_shown, reference[:_VIEW]))}"
        )
    if any(reference[_VIEW:]):
        raise ValueError("a storage is a part of another")
    return Storage(key, _DTYPES[dtype.name], length)


def _shown(value: Any) -> str:
    """Return a value for a message; a nested one, which may be endless, by its type."""
    return f"{value!r:.80}" if type(value) in {int, str} else type(value).__name__


class _Bounded:
    """A stream that is only read up to a limit."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, MAX_PICKLE_BYTES

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise ValueError(f"the pickle has more than {MAX_PICKLE_BYTES} bytes, or is cut off")
        self._left -= size
        return self._stream.read(size)

    def readline(self) -> bytes:
        line = self._stream.readline(self._left)
        self._left -= len(line)
        return line
