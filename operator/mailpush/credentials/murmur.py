"""MurmurHash3 in its x64 form of 128 bits, with the seed 0: what OX puts between the passcrypt and Argon2.

After Austin Appleby's description of the algorithm, which is in the public domain. No cryptographic hash: OX's choice.
"""

from typing import Final

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_C1: Final = 0x87C3_7B91_1142_53D5
_C2: Final = 0x4CF5_AD43_2745_937F


def murmur3_x64_128(data: bytes) -> bytes:
    """16 bytes, both halves in little-endian order, as Guava prints them."""
    h1 = h2 = 0
    whole = len(data) - len(data) % 16
    for at in range(0, whole, 16):
        h1 ^= _mix1(int.from_bytes(data[at : at + 8], "little"))
        h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DC_E729) & _MASK
        h2 ^= _mix2(int.from_bytes(data[at + 8 : at + 16], "little"))
        h2 = ((_rotate(h2, 31) + h1) * 5 + 0x3849_5AB5) & _MASK
    h1 ^= _mix1(int.from_bytes(data[whole : whole + 8], "little")) ^ len(data)
    h2 ^= _mix2(int.from_bytes(data[whole + 8 :], "little")) ^ len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _finish(h1), _finish(h2)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    return h1.to_bytes(8, "little") + h2.to_bytes(8, "little")


def _mix1(half: int) -> int:
    return _rotate(half * _C1 & _MASK, 31) * _C2 & _MASK


def _mix2(half: int) -> int:
    return _rotate(half * _C2 & _MASK, 33) * _C1 & _MASK


def _finish(half: int) -> int:
    half = (half ^ half >> 33) * 0xFF51_AFD7_ED55_8CCD & _MASK
    half = (half ^ half >> 33) * 0xC4CE_B9FE_1A85_EC53 & _MASK
    return half ^ half >> 33


def _rotate(half: int, bits: int) -> int:
    return (half << bits | half >> 64 - bits) & _MASK
