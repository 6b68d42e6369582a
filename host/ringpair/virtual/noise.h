// What silicon adds: ring counts with noise, and the raw bits of the random source. Everything is seeded.
#pragma once
#include <cmath>
#include <cstdint>

// xoshiro256++ (Blackman, Vigna, 2019), seeded by splitmix64.
struct Generator {
    uint64_t s[4];

    explicit Generator(uint64_t seed = 0)
    {
        for (auto &word : s) {
            uint64_t z = seed += 0x9e3779b97f4a7c15u;
            z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
            z = (z ^ z >> 27) * 0x94d049bb133111ebu;
            word = z ^ z >> 31;
        }
    }
    static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }
    uint64_t next()
    {
        uint64_t result = rotate(s[0] + s[3], 23) + s[0], t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotate(s[3], 45);
        return result;
    }
    double uniform() { return double(next() >> 11) * 0x1p-53; } // [0, 1)
    uint32_t below(uint32_t bound) { return uint32_t((next() >> 32) * bound >> 32); }
    double normal()
    {
        double u, v, r;
        do {
            u = 2 * uniform() - 1;
            v = 2 * uniform() - 1;
            r = u * u + v * v;
        } while (r >= 1 || r == 0);
        return u * std::sqrt(-2 * std::log(r) / r);
    }
};

// The raw random bit: probability of a one, and probability of repeating the bit before instead of drawing.
struct NoiseSource {
    double one = 0.5, repeat = 0;
    uint32_t last = 0;

    uint32_t next(Generator &generator)
    {
        if (repeat <= 0 || generator.uniform() >= repeat)
            last = generator.uniform() < one;
        return last;
    }
};

constexpr unsigned PLACES = 64, CHANNELS = 4, RINGS = PLACES * CHANNELS; // ring = place * 4 + channel

// Counts of the rings over a window: from a model (mean and relative noise) or from a table of reads, both given for a
// window of length 1. White noise averages over a longer window, slow noise does not, and neither does a table's.
struct Rings {
    double mean[RINGS] = {}, white[RINGS] = {}, slow[RINGS] = {}, memory = 0;
    double drift[RINGS] = {};       // state of the slow noise, in units of its standard deviation
    const double *table = nullptr;  // reads x RINGS, owned by the caller
    uint32_t reads = 0, cursor[RINGS] = {};

    uint16_t measure(unsigned ring, double window, Generator &generator)
    {
        double periods = window * (table ? replay(ring) : model(ring, window, generator));
        return uint16_t(uint32_t(periods + generator.uniform())); // the window opens at any phase; 16 bits wrap
    }

    // The slow noise has always been there; another environment does not start it anew.
    void begin_drift(Generator &generator)
    {
        if (!drifting)
            for (double &state : drift)
                state = generator.normal();
        drifting = true;
    }

  private:
    bool drifting = false;

    double replay(unsigned ring)
    {
        double periods = table[size_t(cursor[ring]) * RINGS + ring];
        cursor[ring] = (cursor[ring] + 1) % reads;
        return periods;
    }

    double model(unsigned ring, double window, Generator &generator)
    {
        drift[ring] = memory * drift[ring] + std::sqrt(1 - memory * memory) * generator.normal();
        double noise = white[ring] / std::sqrt(window) * generator.normal() + slow[ring] * drift[ring];
        return mean[ring] > 0 && noise > -1 ? mean[ring] * (1 + noise) : 0;
    }
};
