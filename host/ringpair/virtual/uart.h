// Both directions of one serial line, seen from outside the device: 8 data bits, no parity, one stop bit.
#pragma once
#include <cstdint>
#include <vector>

// First in, first out; the space is reused once everything is read.
struct ByteQueue {
    std::vector<uint8_t> bytes;
    size_t first = 0;

    size_t size() const { return bytes.size() - first; }
    void push(uint8_t byte) { bytes.push_back(byte); }
    uint8_t pop()
    {
        uint8_t byte = bytes[first++];
        if (first == bytes.size())
            clear();
        return byte;
    }
    void clear()
    {
        bytes.clear();
        first = 0;
    }
};

// Sends queued bytes to the device, back to back.
struct UartSender {
    uint32_t divisor, shift = 0, bits = 0, timer = 0;
    ByteQueue queue;

    bool busy() const { return bits || queue.size(); }

    // Level of the line in this cycle; `sent` becomes the byte whose stop bit begins, or stays.
    uint32_t cycle(int &sent)
    {
        if (bits && --timer == 0) {
            timer = divisor;
            shift >>= 1;
            if (--bits == 1)
                sent = byte;
        }
        if (!bits && queue.size()) {
            byte = queue.pop();
            shift = 0x200u | uint32_t(byte) << 1;
            bits = 10;
            timer = divisor;
        }
        return bits ? shift & 1 : 1;
    }

    void reset()
    {
        queue.clear();
        bits = 0;
    }

  private:
    uint8_t byte = 0;
};

// Receives what the device sends: samples in the middle of each bit.
struct UartReceiver {
    uint32_t divisor, shift = 0, bits = 0, timer = 0;
    uint64_t framing_errors = 0;
    ByteQueue queue;

    bool busy() const { return bits != 0; }

    // Takes the level of the line in this cycle; returns the byte that is complete, or -1.
    int cycle(uint32_t level)
    {
        if (!bits) {
            if (!level) {
                bits = 9;
                timer = divisor + divisor / 2;
                shift = 0;
            }
        } else if (--timer == 0) {
            timer = divisor;
            if (--bits)
                shift |= level << (8 - bits);
            else if (level)
                return int(shift);
            else
                framing_errors++;
        }
        return -1;
    }

    void reset()
    {
        queue.clear();
        bits = 0;
    }
};
