"""The masks that tests/it/mask.rs expects of two seeds, from the definitions: ChaCha with 8 rounds (Bernstein, 2008), rand_core's
expansion of a 64-bit seed into a key (PCG32), Lemire's bounded draw, Fisher-Yates from the end.

    python masks.py
"""

import struct

M32 = 0xFFFFFFFF


def key_of(seed):
    """rand_core's SeedableRng::seed_from_u64: eight outputs of PCG32 (XSH RR), advanced before each."""
    key, state = [], seed
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) & 0xFFFFFFFFFFFFFFFF
        xorshifted = (((state >> 18) ^ state) >> 27) & M32
        rotation = state >> 59
        key.append((xorshifted >> rotation | xorshifted << (-rotation & 31)) & M32)
    return key


def chacha8(key, counter):
    rotate = lambda value, by: (value << by | value >> (32 - by)) & M32

    def quarter(s, a, b, c, d):
        for first, second, third, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[first] = (s[first] + s[second]) & M32
            s[third] = rotate(s[third] ^ s[first], by)

    start = [*struct.unpack("<4I", b"expand 32-byte k"), *key, counter & M32, counter >> 32, 0, 0]
    state = start.copy()
    for _ in range(4):
        for column in range(4):
            quarter(state, column, 4 + column, 8 + column, 12 + column)
        for diagonal in range(4):
            quarter(state, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
    return [(word + first) & M32 for word, first in zip(state, start)]


def draws(seed):
    key, counter = key_of(seed), 0
    while True:
        yield from chacha8(key, counter)
        counter += 1


def below(bound, words):
    while True:
        product = next(words) * bound
        if product & M32 >= (2**32 - bound) % bound:
            return product >> 32


def masks(region_size, sets, height, width, seed):
    rows, columns = -(-height // region_size), -(-width // region_size)
    cells = [cell % sets for cell in range(rows * columns)]
    words = draws(seed)
    for last in range(len(cells) - 1, 0, -1):
        chosen = below(last + 1, words)
        cells[last], cells[chosen] = cells[chosen], cells[last]
    return [cells[row * columns :][:columns] for row in range(rows)]


print(masks(3, 3, 11, 14, 7))

# Draws are rejected about once in 2^32 / bound: this many cells see a few.
checksum = 0
for row in masks(1, 3, 512, 512, 1):
    for cell in row:
        checksum = (31 * checksum + cell) & M32
print(checksum)
