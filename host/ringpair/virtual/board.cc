// The virtual board: compiled gateware, two serial lines, a flash, rings, noise, a button and LEDs behind a small C ABI.
//
// The model is either CXXRTL's own, stepped in two phases (`-DREFERENCE`), or what `gating.py` makes of it, several
// times as fast: one evaluation per cycle, of what changed. Both do the same in every cycle.
#include <cxxrtl/cxxrtl.h>

// Memories of the model queue a write in every cycle, also when none of its bits is enabled; here only real ones.
template <size_t N>
inline void write_memory(cxxrtl::memory<N> &memory, size_t index, const cxxrtl::value<N> &value,
                         const cxxrtl::value<N> &mask, int priority)
{
    if (!mask.is_zero())
        memory.update(index, value, mask, priority);
}

// Does the writes; whether a word has changed.
template <size_t N> inline bool take(cxxrtl::memory<N> &memory)
{
    cxxrtl::observer nobody;
    return !memory.write_queue.empty() && memory.commit(nobody);
}

#include MODEL

#include "nor.h"
#include "uart.h"

#ifdef REFERENCE
using Model = cxxrtl_design::p_top;
#define WAKE(m, input)
#else
using Model = cxxrtl_design::p_gated;
#define WAKE(m, input) ((m).awake |= Model::wakes_##input)
#endif
// Gives an input a level, and wakes what reads it if the level is new.
#define SHOW(m, input, level)                                                                                          \
    do {                                                                                                               \
        uint32_t shown = (level);                                                                                      \
        if (shown != (m).input.data[0]) {                                                                              \
            (m).input.data[0] = shown;                                                                                 \
            WAKE(m, input);                                                                                            \
        }                                                                                                              \
    } while (0)

struct Parameters {
    uint32_t admin_divisor, peer_divisor; // cycles per bit
    uint32_t settle;                      // cycles without any activity that make the board quiet
    uint32_t window;                      // cycles of the measurement that the ring model is given for
    uint32_t trace;                       // hash all outputs in all cycles
    uint32_t log;                         // mask of 1 << Event::kind
    NorParameters flash;
    uint64_t seed;                        // of all noise
};

// Read by the host in place.
struct Status {
    uint64_t cycle, boots, phase_cycles[16], phase_entries[16];
    uint64_t admin_in, admin_out, peer_in, peer_out; // bytes on the lines, seen from the device
    uint64_t framing_errors, measurements, noise_bits, programs, erases;
    uint64_t trace;                                  // hash of all outputs in all cycles, when asked for
    uint64_t window;                                 // cycles of the last ring measurement
    uint32_t powered, quiet, led, phase, button, flash_busy;
    uint32_t display, reserved;                      // what is seen on the display: left digit, 8 bits up the right one
    uint64_t admin_waiting, peer_waiting;            // bytes for the host
    uint64_t admin_pending, peer_pending;            // bytes for the device
    uint64_t events;                                 // in the log
};

struct Event {
    enum Kind : uint32_t { ADMIN_IN, ADMIN_OUT, PEER_IN, PEER_OUT, LED, POWER, DISPLAY };
    uint64_t cycle;
    uint32_t kind, value;
};

enum Stop : uint32_t { CYCLES, BYTES, QUIET, OFF };

// Outputs of the model are registers or not.
template <size_t N> uint32_t level(const wire<N> &w) { return w.curr.data[0]; }
template <size_t N> uint32_t level(const value<N> &v) { return v.data[0]; }

// Segments, and bit 7 for the right digit; 0 for a device without a display.
template <class M> auto display(const M &m, int) -> decltype(level(m.p_segments))
{
    return level(m.p_segments) | level(m.p_right__digit) << 7;
}
template <class M> uint32_t display(const M &, long) { return 0; }

// Levels of the device's outputs in one cycle.
struct Levels {
    uint32_t admin_tx = 1, peer_tx = 1, sck = 0, cs_n = 1, copi = 0;
    uint32_t ring_index = 0, ring_run = 0, take = 0, enable = 0, led = 0, phase = 0, idle = 0, display = 0;
};

// Sees two digits at once that are lit in turn.
struct Eye {
    uint32_t digits[2] = {}, seen = 0;

    // The levels change; whether what is seen does.
    bool look(uint32_t before, uint32_t now)
    {
        digits[before >> 7] = before & 0x7f; // its turn is over
        if (!(now & 0x7f))
            digits[0] = digits[1] = 0;
        uint32_t old = seen;
        if (!digits[0] == !digits[1])
            seen = digits[0] | digits[1] << 8;
        return seen != old;
    }
};

struct Board {
    Parameters parameters;
    Status status{};
    Model *model = nullptr;
    Levels levels;
    Eye eye;
    UartSender admin_in, peer_in;
    UartReceiver admin_out, peer_out;
    Generator flash_noise, ring_noise, bit_noise;
    Nor flash;
    Rings rings;
    NoiseSource source;
    uint64_t cut_at = Nor::NEVER, release_at = Nor::NEVER, operations = 0;
    uint64_t cut_program = 0, cut_erase = 0; // ordinal of the operation to cut, 0 for none
    double cut_fraction = 0;
    uint32_t calm = 0, counts_shown = 0;
    std::vector<Event> events;

    Board(const Parameters &p, uint8_t *memory)
        : parameters(p), flash_noise(p.seed), ring_noise(p.seed + 1), bit_noise(p.seed + 2), flash(p.flash, memory)
    {
        admin_in.divisor = admin_out.divisor = p.admin_divisor;
        peer_in.divisor = peer_out.divisor = p.peer_divisor;
    }
    ~Board() { delete model; }

    void log(uint32_t kind, uint32_t value)
    {
        if (parameters.log >> kind & 1)
            events.push_back({status.cycle, kind, value});
    }

    void power(bool on)
    {
        if (on == bool(model))
            return;
        delete model;
        model = nullptr;
        admin_in.reset(), peer_in.reset(), admin_out.reset(), peer_out.reset();
        levels = Levels();
        eye = Eye();
        calm = 0;
        release_at = Nor::NEVER;
        status.button = status.led = status.display = 0;
        if (on) {
            model = new Model();
            flash.power_on();
            show_counts(0, 0);
            status.boots++;
        } else {
            cut_at = Nor::NEVER;
            cut_program = cut_erase = 0;
        }
        log(Event::POWER, on);
    }

    void show_counts(uint32_t place, uint64_t cycles)
    {
        uint32_t count[CHANNELS] = {};
        if (cycles)
            for (unsigned channel = 0; channel < CHANNELS; channel++)
                count[channel] =
                    rings.measure(place * CHANNELS + channel, double(cycles) / parameters.window, ring_noise);
        SHOW(*model, p_ring__count0, count[0]);
        SHOW(*model, p_ring__count1, count[1]);
        SHOW(*model, p_ring__count2, count[2]);
        SHOW(*model, p_ring__count3, count[3]);
    }

    // The flash answers the levels of this cycle in this cycle; whether the device has to be told.
    bool flash_answers()
    {
        Model &m = *model;
        levels.sck = level(m.p_flash__sck), levels.cs_n = level(m.p_flash__cs__n), levels.copi = level(m.p_flash__copi);
        uint32_t bit = flash.cycle(status.cycle, levels.cs_n, levels.sck, levels.copi, flash_noise);
        bool changed = bit != m.p_flash__cipo.data[0];
        m.p_flash__cipo.data[0] = bit;
        return changed;
    }

    void read_outputs()
    {
        const Model &m = *model;
        Levels &l = levels;
        l.admin_tx = level(m.p_admin__tx), l.peer_tx = level(m.p_peer__tx);
        l.ring_index = level(m.p_ring__index), l.ring_run = level(m.p_ring__run);
        l.take = level(m.p_trng__take), l.enable = level(m.p_trng__enable);
        l.led = level(m.p_led), l.phase = level(m.p_phase), l.idle = level(m.p_idle);
        l.display = display(m, 0);
    }

    // One clock: the levels of this cycle, then its edge.
    void clock()
    {
        Model &m = *model;
#ifdef REFERENCE
        m.p_clk.set<uint32_t>(0);
        m.step();
        if (flash_answers())
            m.step();
        read_outputs();
        m.p_clk.set<uint32_t>(1);
        m.step();
#else
        m.evaluate([this] { return flash_answers(); });
        read_outputs();
        m.commit_changes();
#endif
    }

    void cycle()
    {
        Levels before = levels;
        int sent = -1;
        SHOW(*model, p_admin__rx, admin_in.cycle(sent));
        if (sent >= 0)
            status.admin_in++, log(Event::ADMIN_IN, uint32_t(sent));
        sent = -1;
        SHOW(*model, p_peer__rx, peer_in.cycle(sent));
        if (sent >= 0)
            status.peer_in++, log(Event::PEER_IN, uint32_t(sent));
        if (status.cycle >= release_at)
            button(false, 0);
        SHOW(*model, p_button, status.button);

        clock();
        const Levels &l = levels;

        receive(admin_out, l.admin_tx, status.admin_out, Event::ADMIN_OUT);
        receive(peer_out, l.peer_tx, status.peer_out, Event::PEER_OUT);
        if (l.ring_run && !before.ring_run) {
            status.measurements++;
            status.window = 0;
        }
        status.window += l.ring_run;
        if (!l.ring_run && before.ring_run) // one event per measurement, when it ends; it is read 16 cycles later
            show_counts(before.ring_index, status.window);
        status.noise_bits += l.take;
        if (!l.enable) // rings that do not run give no noise
            SHOW(*model, p_trng__sample, 0);
        else if (l.take || !before.enable)
            SHOW(*model, p_trng__sample, source.next(bit_noise));
        if (l.led != before.led)
            log(Event::LED, l.led);
        if (l.display != before.display && eye.look(before.display, l.display))
            log(Event::DISPLAY, eye.seen);
        status.phase_cycles[l.phase]++;
        if (l.phase != before.phase)
            status.phase_entries[l.phase]++;
        if (parameters.trace)
            trace(l);
        if (flash.programs + flash.erases != operations)
            operation_started();
        calm = l.idle ? calm + 1 : 0;
        status.cycle++;
    }

    void receive(UartReceiver &line, uint32_t level, uint64_t &count, uint32_t kind)
    {
        int byte = line.cycle(level);
        if (byte >= 0) {
            line.queue.push(uint8_t(byte));
            count++;
            log(kind, uint32_t(byte));
        }
    }

    void trace(const Levels &l)
    {
        uint64_t word = l.admin_tx | l.peer_tx << 1 | l.sck << 2 | l.cs_n << 3 | l.copi << 4 | l.ring_run << 5 |
                        l.take << 6 | l.idle << 7 | l.enable << 11 | l.led << 8 | l.phase << 12 | l.ring_index << 16 | l.display << 24;
        status.trace = (status.trace ^ word) * 0x100000001b3u;
    }

    void operation_started()
    {
        operations = flash.programs + flash.erases;
        if ((cut_program && flash.programs == cut_program) || (cut_erase && flash.erases == cut_erase))
            cut_at = flash.started + uint64_t(cut_fraction * double(flash.ends - flash.started));
    }

    void button(bool down, uint64_t cycles)
    {
        status.button = down;
        release_at = down && cycles ? status.cycle + cycles : Nor::NEVER;
    }

    bool quiet() const
    {
        return calm > parameters.settle && !admin_in.busy() && !peer_in.busy() && !admin_out.busy() &&
               !peer_out.busy() && !flash.busy() && !status.button && !levels.display;
    }

    Stop run(uint64_t cycles, size_t admin_bytes, size_t peer_bytes, bool until_quiet)
    {
        for (uint64_t i = 0; i < cycles; i++) {
            if (status.cycle >= cut_at)
                power(false);
            if (!model)
                return OFF;
            cycle();
            if ((admin_bytes && admin_out.queue.size() >= admin_bytes) ||
                (peer_bytes && peer_out.queue.size() >= peer_bytes))
                return BYTES;
            if (until_quiet && calm > parameters.settle && quiet())
                return QUIET;
        }
        return CYCLES;
    }

    void update_status()
    {
        status.powered = model != nullptr;
        status.quiet = model ? quiet() : 1;
        status.led = levels.led;
        status.display = eye.seen;
        status.phase = levels.phase;
        status.flash_busy = flash.busy();
        status.framing_errors = admin_out.framing_errors + peer_out.framing_errors;
        status.programs = flash.programs;
        status.erases = flash.erases;
        status.admin_waiting = admin_out.queue.size();
        status.peer_waiting = peer_out.queue.size();
        status.admin_pending = admin_in.queue.size() + admin_in.busy();
        status.peer_pending = peer_in.queue.size() + peer_in.busy();
        status.events = events.size();
    }
};

extern "C" {

Board *board_new(const Parameters *parameters, uint8_t *flash) { return new Board(*parameters, flash); }
void board_free(Board *b) { delete b; }
const Status *board_status(Board *b) { return &b->status; }

void board_power(Board *b, uint32_t on)
{
    b->power(on);
    b->update_status();
}

uint32_t board_run(Board *b, uint64_t cycles, uint64_t admin_bytes, uint64_t peer_bytes, uint32_t until_quiet)
{
    Stop stop = b->run(cycles, admin_bytes, peer_bytes, until_quiet);
    b->update_status();
    return stop;
}

// Bytes to and from the lines; port 0 is admin, 1 peer. A board without power hears nothing.
void board_write(Board *b, uint32_t port, const uint8_t *bytes, uint64_t size)
{
    if (b->model)
        for (uint64_t i = 0; i < size; i++)
            (port ? b->peer_in : b->admin_in).queue.push(bytes[i]);
    b->update_status();
}

uint64_t board_read(Board *b, uint32_t port, uint8_t *bytes, uint64_t size)
{
    ByteQueue &queue = (port ? b->peer_out : b->admin_out).queue;
    uint64_t n = 0;
    while (n < size && queue.size())
        bytes[n++] = queue.pop();
    b->update_status();
    return n;
}

void board_button(Board *b, uint32_t down, uint64_t cycles)
{
    if (b->model)
        b->button(down, cycles);
    b->update_status();
}

void board_cut_at(Board *b, uint64_t cycle) { b->cut_at = cycle; }

// Cuts the power when this fraction of the n-th program or erase from now (n >= 1) has passed.
void board_cut_in_program(Board *b, uint64_t n, double fraction)
{
    b->cut_program = b->flash.programs + n;
    b->cut_fraction = fraction;
}

void board_cut_in_erase(Board *b, uint64_t n, double fraction)
{
    b->cut_erase = b->flash.erases + n;
    b->cut_fraction = fraction;
}

// From now on, `erase` or a program does not change these bits of the flash; none of them with an empty range.
void board_flash_wear(Board *b, uint32_t start, uint32_t end, uint32_t mask, uint32_t erase)
{
    if (start < end)
        b->flash.worn.push_back({start, end, uint8_t(mask), erase != 0});
    else
        b->flash.worn.clear();
}

// The n-th program or erase from now (n >= 1) never ends, whether it does its work or not, until the power goes.
void board_flash_hang(Board *b, uint64_t n, uint32_t works)
{
    b->flash.hangs_at = b->flash.programs + b->flash.erases + n;
    b->flash.works = works != 0;
}

void board_ring_model(Board *b, const double *mean, const double *white, const double *slow, double memory)
{
    memcpy(b->rings.mean, mean, sizeof b->rings.mean);
    memcpy(b->rings.white, white, sizeof b->rings.white);
    memcpy(b->rings.slow, slow, sizeof b->rings.slow);
    b->rings.memory = memory;
    b->rings.begin_drift(b->ring_noise);
    b->rings.table = nullptr;
}

void board_ring_table(Board *b, const double *table, uint32_t reads)
{
    b->rings.table = table;
    b->rings.reads = reads;
    memset(b->rings.cursor, 0, sizeof b->rings.cursor);
}

void board_noise_source(Board *b, double one, double repeat)
{
    b->source.one = one;
    b->source.repeat = repeat;
}

// Oldest events first; returns how many.
uint64_t board_events(Board *b, Event *events, uint64_t size)
{
    uint64_t n = b->events.size() < size ? b->events.size() : size;
    memcpy(events, b->events.data(), n * sizeof(Event));
    b->events.erase(b->events.begin(), b->events.begin() + ptrdiff_t(n));
    b->update_status();
    return n;
}
}
