// A serial NOR flash at the level of its four wires, after the W25Q data sheets (Winbond W25Q32JV/W25Q128JV).
//
// Programs only clear bits, erases only set them, and both take their time: while one runs the bits change one after
// the other in random order, so that a power cut at any cycle leaves what a real part may leave. The content is the
// caller's memory (usually a mapped file), so that nothing is lost when the process is killed. What a worn part does
// wrong can be set: bits that do not change any more, and an operation that never ends.
#pragma once
#include "noise.h"
#include <cstring>
#include <vector>

struct NorParameters {
    uint32_t size;          // bytes, a power of two
    uint32_t jedec;         // manufacturer << 16 | type << 8 | capacity
    uint32_t program_first; // cycles for the first byte of a page program,
    uint32_t program_next;  // 1/256 cycles for every further byte
    uint32_t erase_4k, erase_64k, erase_chip;
    uint32_t wake;          // cycles from release of power-down to the first command
    uint32_t asleep;        // powers up in power-down, as iCE40 leaves its flash after configuration
};

// Bits of the bytes from `start` up to `end` that an erase, or a program, leaves as they are.
struct Worn {
    uint32_t start, end;
    uint8_t mask;
    bool erase;
};

struct Nor {
    enum Command : uint8_t {
        PAGE_PROGRAM = 0x02, READ = 0x03, WRITE_DISABLE = 0x04, READ_STATUS = 0x05, WRITE_ENABLE = 0x06,
        ERASE_4K = 0x20, ERASE_64K = 0xd8, ERASE_CHIP = 0xc7, JEDEC_ID = 0x9f, POWER_DOWN = 0xb9, RELEASE = 0xab,
    };
    static constexpr uint64_t NEVER = ~uint64_t(0);
    static constexpr uint32_t PAGE = 256;

    NorParameters parameters;
    uint8_t *memory;
    uint64_t now = 0, next_change = NEVER; // next cycle at which the running operation changes something
    uint64_t programs = 0, erases = 0, started = 0, ends = 0;
    std::vector<Worn> worn;
    uint64_t hangs_at = 0; // ordinal of the operation that never ends, 0 for none; power-off ends it
    bool works = false;    // whether that one does what it should

    Nor(const NorParameters &p, uint8_t *m) : parameters(p), memory(m) { power_on(); }

    void power_on()
    {
        selected = write_enabled = false;
        asleep = parameters.asleep;
        next_change = NEVER;
        wakes = 0;
        changes.clear();
    }
    bool busy() const { return next_change != NEVER; }

    // Level of the data output for these levels of the inputs in cycle `at`.
    uint32_t cycle(uint64_t at, uint32_t cs_n, uint32_t sck, uint32_t copi, Generator &generator)
    {
        now = at;
        if (now >= next_change)
            advance();
        if (cs_n) {
            if (selected)
                deselect(generator);
            selected = false;
            return 1;
        }
        if (!selected) {
            selected = true;
            bits = bytes = 0;
            last_sck = 0; // mode 0
            out = following = 0xff;
        }
        if (sck && !last_sck) {
            in = in << 1 | copi;
            if (++bits % 8 == 0)
                byte(uint8_t(in));
        } else if (!sck && last_sck) // the output moves on falling edges only
            out = bits % 8 ? uint8_t(out << 1) : following;
        last_sck = sck;
        return out >> 7 & 1;
    }

  private:
    bool selected, write_enabled, asleep, accepted;
    uint32_t bits, in = 0, last_sck, bytes, address;
    uint8_t command, out, following, page[PAGE];
    bool written[PAGE];
    uint64_t wakes;
    std::vector<uint32_t> changes; // bit numbers (address * 8 + bit) still and already flipped by the operation
    size_t changed;

    uint8_t status() const { return uint8_t(busy() | write_enabled << 1); }

    // A whole byte came in; `following` becomes the byte that goes out next.
    void byte(uint8_t value)
    {
        uint32_t n = bytes++; // saturates far beyond any command
        if (n == 0) {
            command = value;
            address = 0;
            accepted = now >= wakes && (!asleep || command == RELEASE) && (!busy() || command == READ_STATUS);
            memset(written, 0, sizeof written);
        }
        if (!accepted)
            return;
        if (n >= 1 && n <= 3)
            address = (address << 8 | value) & (parameters.size - 1);
        switch (command) {
        case READ_STATUS:
            following = status();
            break;
        case JEDEC_ID:
            following = uint8_t(parameters.jedec >> (16 - 8 * (n % 3)));
            break;
        case RELEASE:
            following = n >= 3 ? uint8_t((parameters.jedec & 0xff) - 1) : 0xff; // device id, one below the capacity code
            break;
        case READ:
            if (n >= 3) {
                following = memory[address];
                address = (address + 1) & (parameters.size - 1);
            }
            break;
        case PAGE_PROGRAM:
            if (n >= 4) { // beyond a page the last 256 bytes count
                uint32_t at = (address + n - 4) % PAGE;
                page[at] = value;
                written[at] = true;
            }
            break;
        }
    }

    // Commands that do something do it when chip select rises, and only on a byte boundary after the right bytes.
    void deselect(Generator &generator)
    {
        if (bytes == 0 || bits % 8 || !accepted)
            return;
        if (command == WRITE_ENABLE && bytes == 1)
            write_enabled = true;
        else if (command == WRITE_DISABLE && bytes == 1)
            write_enabled = false;
        else if (command == POWER_DOWN && bytes == 1)
            asleep = true;
        else if (command == RELEASE && asleep) {
            asleep = false;
            wakes = now + parameters.wake;
        } else if (!write_enabled)
            return;
        else if (command == PAGE_PROGRAM && bytes > 4)
            program(generator);
        else if (command == ERASE_4K && bytes == 4)
            erase(4096, parameters.erase_4k, generator);
        else if (command == ERASE_64K && bytes == 4)
            erase(65536, parameters.erase_64k, generator);
        else if (command == ERASE_CHIP && bytes == 1)
            erase(parameters.size, parameters.erase_chip, generator);
    }

    void program(Generator &generator)
    {
        uint32_t base = address & ~(PAGE - 1), count = 0;
        changes.clear();
        for (uint32_t i = 0; i < PAGE; i++)
            if (written[i]) {
                count++;
                collect(base + i, memory[base + i] & ~page[i], false);
            }
        programs++;
        start(parameters.program_first + ((count - 1) * uint64_t(parameters.program_next) >> 8), generator);
    }

    void erase(uint32_t size, uint64_t cycles, Generator &generator)
    {
        uint32_t base = address & ~(size - 1) & (parameters.size - 1);
        changes.clear();
        for (uint32_t i = 0; i < size; i++)
            collect(base + i, uint8_t(~memory[base + i]), true);
        erases++;
        start(cycles, generator);
    }

    void collect(uint32_t at, uint8_t mask, bool erasing)
    {
        for (const Worn &w : worn)
            if (w.erase == erasing && w.start <= at && at < w.end)
                mask &= uint8_t(~w.mask);
        for (uint32_t bit = 0; bit < 8; bit++)
            if (mask >> bit & 1)
                changes.push_back(at * 8 + bit);
    }

    bool hangs() const { return hangs_at && programs + erases == hangs_at; }

    void start(uint64_t cycles, Generator &generator)
    {
        if (hangs() && !works)
            changes.clear();
        for (size_t i = changes.size(); i > 1; i--) { // Fisher-Yates
            size_t j = generator.below(uint32_t(i));
            uint32_t other = changes[j];
            changes[j] = changes[i - 1];
            changes[i - 1] = other;
        }
        changed = 0;
        started = now;
        ends = now + (cycles ? cycles : 1);
        schedule();
    }

    // Bit k of n flips at (k + 1) / (n + 1) of the time; the end itself only clears busy.
    uint64_t time_of(size_t k) const { return started + (ends - started) * (k + 1) / (changes.size() + 1); }

    void schedule() { next_change = changed < changes.size() ? time_of(changed) : ends; }

    void advance()
    {
        while (changed < changes.size() && now >= time_of(changed)) {
            uint32_t bit = changes[changed++];
            memory[bit >> 3] ^= uint8_t(1u << (bit & 7));
        }
        if (now >= ends && hangs())
            next_change = NEVER - 1; // busy, and nothing will change
        else if (now >= ends) {
            write_enabled = false;
            next_change = NEVER;
        } else
            schedule();
    }
};
