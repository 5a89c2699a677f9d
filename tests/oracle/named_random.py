"""The random draws of a run, in Python: named generators and the counter-based dropout mask.

generator(seed, step, name): a CPU generator seeded with the unsigned little-endian 64-bit integer in the first 8 bytes
of SHA-256 of "{seed}/{step}/{name}". Dropout: element e of an update is kept iff word e % 4 of Philox4x32-10 (Salmon et
al., SC 2011) with counter (e/4 low, e/4 high, site, 0) and key (seed low, seed high) is >= round(p * 2^32); kept
elements are multiplied by 1 / (1 - p)."""

import hashlib

import numpy as np
import torch


def generator_seed(seed, step, name):
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{name}".encode()).digest()[:8], "little")


def generator(seed, step, name):
    made = torch.Generator("cpu")
    value = generator_seed(seed, step, name)
    made.manual_seed(value if value < 1 << 63 else value - (1 << 64))  # torch takes the bits as a signed number
    return made


def normal(shape, made):
    return torch.randn(shape, generator=made, dtype=torch.float32)


def uniform(shape, made):
    return torch.rand(shape, generator=made, dtype=torch.float32)


MULTIPLIERS, WEYL, LOW = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), np.uint64(0xFFFFFFFF)


def philox4x32(counters, key):
    """counters [n,4], key (2): ten rounds; -> [n,4] words as uint64 below 2^32."""
    c = [np.asarray(counters)[:, i].astype(np.uint64) for i in range(4)]
    k = [int(key[0]), int(key[1])]
    for _ in range(10):
        products = [c[0] * np.uint64(MULTIPLIERS[0]), c[2] * np.uint64(MULTIPLIERS[1])]
        high, low = [p >> np.uint64(32) for p in products], [p & LOW for p in products]
        c = [high[1] ^ c[1] ^ np.uint64(k[0]), low[1], high[0] ^ c[3] ^ np.uint64(k[1]), low[0]]
        k = [(k[i] + WEYL[i]) & 0xFFFFFFFF for i in range(2)]
    return np.stack(c, 1)


def dropout_factors(shape, probability, seed, site):
    """fp32 tensor of 0 and 1 / (1 - p)."""
    count = int(np.prod(shape))
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    zero = np.zeros_like(block)
    counters = np.stack([block & LOW, block >> np.uint64(32), zero + np.uint64(site), zero], 1)
    words = philox4x32(counters, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)[:count]
    kept = torch.from_numpy(words >= np.uint64(round(probability * 2**32)))
    return (kept.float() / (1.0 - probability)).reshape(shape)
