"""What files can hold that means harm: numbers, fields of a tableau, whole contents."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np

ESCAPE = "\x1b]0;title\x07"
DEEP = "[" * 100_000 + "]" * 100_000
MILLION = "3" * 1_000_000

NUMBERS = {
    "exponent of a billion": "1e999999999",
    "exponent of minus a billion": "-1e-999999999",
    "beyond a float": "1e400",
    "below a float": "1e-400",
    "integer of 400 digits": "7" * 400,
    "integer of a hundred thousand digits": MILLION[:100_000],
    "integer of a million digits": MILLION,
    "decimal of a million digits": "0." + MILLION,
    "exponent of a million digits": "1e" + MILLION,
    "quoted exponent": '"1e999999999"',
    "quoted exponent of many digits": f'"1e{MILLION[:100]}"',
    "denominator of a million digits": f'"1/{MILLION}"',
    "division by zero": '"1/0"',
    "text": '"x"',
    "empty text": '""',
    "escapes": '"\\u001b]0;title\\u0007"',
    "other digits": '"\u0661\u0662"',
    "long text": '"' + "x" * 20_000 + '"',
    "null": "null",
    "true": "true",
    "list": "[[]]",
    "table": "{}",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "nan of TOML": "nan",
    "inf of TOML": "-inf",
    "hexadecimal": "0x" + "F" * 100_000,
    "deep": DEEP,
    "deep tables": '{"a":' * 100_000,
    "unfinished text": '"' + '\\"' * 20_000,
    "date": "2020-01-01",
}

FIELDS = {
    "name with escapes": '"name": "\\u001b]0;title\\u0007"',
    "name turned round": '"name": "a\\u202eb"',
    "long name": '"name": "' + "n" * 100_000 + '"',
    "name that is a number": '"name": 3',
    "source with escapes": '"source": "\\u001b[31m"',
    "unknown field with escapes": '"\\u001b[31m": 1',
    "unknown long field": '"' + "n" * 100_000 + '": 1',
    "vast order": '"order": 1000000000',
    "half an order": '"order": "5/2"',
    "negative order": '"order": -2',
    "no order": '"order": null',
    "vast digits": '"digits": 1000000000',
    "negative digits": '"digits": -1000000000',
    "vast error_order": '"b_hat": [1, 0], "error_order": 1e9',
    "many stages": '"b": [' + "1," * 100_000 + "1]",
    "many rows": '"a": [' + "[]," * 60_000 + "[]]",
    "many powers": '"dense_order": 1, "dense": [[' + "0," * 100_000 + "0], []]",
    "coupled stages": f'"a": {[[0] * 16 + [1]] * 17}, "c": {[1] * 17}, "order": 1, '
    f'"b": {[1] + [0] * 16}',
    "Rosenbrock of many stages": f'"gamma": 1, "big_c": [[]], "g": [1], "b": {[1] * 30}',
    "Rosenbrock of large coefficients": '"alpha": [[], [1e9]], "gamma": [[1e-90], [1e9, 1e-90]]',
    "deep gamma": '"gamma": ' + "[" * 30 + "]" * 30,
    "large coefficients": '"a": [[], [1e60]], "c": [0, 1e60], "b": [1, 0]',
}


def packed(shape: str, data: bytes = b"", *, method: int = zipfile.ZIP_STORED) -> bytes:
    """A chunk whose x claims a shape, whatever data it has."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    lead = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header) + 1) + header.encode() + b"\n"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("x.npy", lead + data)
        for name, value in (("status", np.zeros(2, np.int64)), ("nfe", np.array(3))):
            whole = io.BytesIO()
            np.save(whole, value)
            archive.writestr(f"{name}.npy", whole.getvalue())
    return made.getvalue()


def saved(**changes: Any) -> bytes:
    """A chunk of two samples with something in it replaced."""
    sound = {"x": np.zeros((2, 4)), "status": np.zeros(2, np.int64), "nfe": np.array(3)}
    made = io.BytesIO()
    np.savez(made, **(sound | changes))
    return made.getvalue()


def overlapping(rows: int) -> bytes:
    """An archive of `a` and `b`, where b lies inside of the numbers of a."""

    def entry(name: str, content: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr(f"{name}.npy", content)
        return made.getvalue()

    def npy(numbers: bytes) -> bytes:
        made = io.BytesIO()
        np.save(made, np.frombuffer(numbers, np.uint8))
        return made.getvalue()

    inner = entry("b", npy(bytes(rows)))
    inside = inner[: inner.index(b"PK\x01\x02")]
    whole = entry("a", npy(inside))
    at, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    listed = inner[inner.index(b"PK\x01\x02") : inner.index(b"PK\x05\x06")]
    place = struct.pack("<I", whole.index(inside))
    directory = whole[at:end] + listed[:42] + place + listed[46:]
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), at, 0)
    return whole[:at] + directory + tail


def lying(size: int) -> bytes:
    """A chunk whose directory claims another size of x."""
    made = packed("(2, 4)", bytes(64))
    at = made.index(b"PK\x01\x02")
    return made[: at + 20] + struct.pack("<II", size, size) + made[at + 28 :]


def locked() -> bytes:
    """A chunk whose x says that it needs a password."""
    made = packed("(2, 4)", bytes(64))
    at = made.index(b"PK\x01\x02")
    return made[: at + 8] + struct.pack("<H", 1) + made[at + 10 :]


CONTENTS = {
    "empty": b"",
    "cut off": b'{"name": "heun", "a": [[], [1',
    "a list": b"[1, 2]",
    "a number": b"3",
    "spaces": b" " * 3_000_000,
    "quotes": b'"' * 200_000,
    "latin letters": '{"name": "Kværnø"}'.encode("latin-1"),
    "two bytes a letter": '{"name": "heun"}'.encode("utf-16"),
    "zeros": bytes(1000),
    "a long word": b"x" * 100_000,
    "a dotted name": b"a" + b".a" * 100_000 + b" = 1",
    "a dotted head": b"[a" + b' . "b"' * 40_000 + b"]",
    "deep": DEEP.encode(),
    "deep in tables": b'{"a": ' * 100_000,
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
    "a pickle": b"\x80\x04\x95\x10" + bytes(range(256)),
    "an array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "a vast array": packed("(2, 1000000000000)"),
    "a vast product": packed("(2, 4611686018427387904, 4)"),
    "negative lengths": packed("(-2, -4)", bytes(64)),
    "a long header": packed("(" + "1," * 100_000 + ")"),
    "a deep header": packed("(" * 5_000 + ")" * 5_000),
    "packed zeros": packed("(2, 6000000)", bytes(96_000_000), method=zipfile.ZIP_DEFLATED),
    "a vast part": lying(4_000_000_000),
    "a short part": lying(40),
    "a password": locked(),
    "cut off archive": saved()[:-30],
    "objects": saved(x=np.array([{}, {}], dtype=object)),
    "texts": saved(x=np.array(["a", "b"])),
    "other rows": saved(x=np.zeros((3, 4))),
    "no axis": saved(x=np.array(1.0)),
    "whole numbers": saved(x=np.zeros((2, 4), np.int64)),
    "several counts": saved(nfe=np.zeros(2, np.int64)),
}
