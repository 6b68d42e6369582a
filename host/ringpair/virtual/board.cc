// The virtual board: compiled gateware, two serial lines, a flash, rings, noise, a button and LEDs behind a small C ABI.
//
// One call of eval() per clock cycle. In cycle k the harness shows the device inputs that follow from the levels of its
// outputs in the same cycle (flash) or in earlier ones (everything else), then the clock rises. CXXRTL keeps outputs
// that are registers (`wire`) ready before eval() and shows the others (`value`) only after it, still from before the
// edge: `early` and `late` read each where it is right, so that all levels of one cycle belong together.
#include <cxxrtl/cxxrtl.h>
#include <type_traits>

// Memories of the model queue a write in every cycle, also when none of its bits is enabled; here only real ones.
template <size_t N>
inline void write_memory(cxxrtl::memory<N> &memory, size_t index, const cxxrtl::value<N> &value,
                         const cxxrtl::value<N> &mask, int priority)
{
    if (!mask.is_zero())
        memory.update(index, value, mask, priority);
}

#include MODEL // defines FOR_EACH_REGISTER

#include "nor.h"
#include "uart.h"

using Model = cxxrtl_design::p_top;

struct Parameters {
    uint32_t admin_divisor, peer_divisor; // cycles per bit
    uint32_t settle;                      // cycles without any activity that make the board quiet
    uint32_t two_phase;                   // step the model twice per cycle: slow, the reference for one eval per cycle
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
    uint64_t admin_waiting, peer_waiting;            // bytes for the host
    uint64_t admin_pending, peer_pending;            // bytes for the device
    uint64_t events;                                 // in the log
};

struct Event {
    enum Kind : uint32_t { ADMIN_IN, ADMIN_OUT, PEER_IN, PEER_OUT, LED, POWER };
    uint64_t cycle;
    uint32_t kind, value;
};

enum Stop : uint32_t { CYCLES, BYTES, QUIET, OFF };

template <size_t N> void early(uint32_t &level, const wire<N> &w) { level = w.curr.data[0]; }
template <size_t N> void early(uint32_t &, const value<N> &) {}
template <size_t N> void late(uint32_t &, const wire<N> &) {}
template <size_t N> void late(uint32_t &level, const value<N> &v) { level = v.data[0]; }

// Levels of the device's outputs in one cycle.
struct Levels {
    uint32_t admin_tx = 1, peer_tx = 1, sck = 0, cs_n = 1, copi = 0;
    uint32_t ring_index = 0, ring_run = 0, take = 0, enable = 0, led = 0, phase = 0, idle = 0;
};

#define FLASH_OUTPUTS(read) read(l.sck, m.p_flash__sck), read(l.cs_n, m.p_flash__cs__n), read(l.copi, m.p_flash__copi)
#define OTHER_OUTPUTS(read)                                                                                            \
    read(l.admin_tx, m.p_admin__tx), read(l.peer_tx, m.p_peer__tx), read(l.ring_index, m.p_ring__index),               \
        read(l.ring_run, m.p_ring__run), read(l.take, m.p_trng__take), read(l.enable, m.p_trng__enable),               \
        read(l.led, m.p_led), read(l.phase, m.p_phase), read(l.idle, m.p_idle)

constexpr bool FLASH_OUTPUTS_ARE_REGISTERS = std::is_same<decltype(Model::p_flash__sck), wire<1>>::value &&
                                             std::is_same<decltype(Model::p_flash__cs__n), wire<1>>::value &&
                                             std::is_same<decltype(Model::p_flash__copi), wire<1>>::value;

struct Board {
    Parameters parameters;
    Status status{};
    Model *model = nullptr;
    Levels levels;
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
        calm = 0;
        release_at = Nor::NEVER;
        status.button = status.led = 0;
        if (on) {
            model = new Model();
            flash.power_on();
            show_counts(0, false);
            status.boots++;
        } else {
            cut_at = Nor::NEVER;
            cut_program = cut_erase = 0;
        }
        log(Event::POWER, on);
    }

    void show_counts(uint32_t place, bool measured)
    {
        uint32_t count[CHANNELS] = {};
        if (measured)
            for (unsigned channel = 0; channel < CHANNELS; channel++)
                count[channel] = rings.measure(place * CHANNELS + channel, ring_noise);
        model->p_ring__count0.set<uint32_t>(count[0]);
        model->p_ring__count1.set<uint32_t>(count[1]);
        model->p_ring__count2.set<uint32_t>(count[2]);
        model->p_ring__count3.set<uint32_t>(count[3]);
    }

    void clock_edge()
    {
        Model &m = *model;
        m.prev_p_clk = value<1>{0u};
        m.p_clk = value<1>{1u};
        m.eval();
#define TAKE(register) take(m.register);
        FOR_EACH_REGISTER(TAKE)
#undef TAKE
    }

    // The model's own commit() compares every register to report changes; nobody asks here.
    template <size_t N> static void take(wire<N> &w) { w.curr = w.next; }
    template <size_t N> static void take(memory<N> &m)
    {
        observer nobody;
        if (!m.write_queue.empty())
            m.commit(nobody);
    }

    // Combinational outputs of this cycle without a clock edge.
    void settle_outputs()
    {
        Model &m = *model;
        m.prev_p_clk = value<1>{0u};
        m.p_clk = value<1>{0u};
        m.eval();
    }

    uint32_t flash_output()
    {
        return flash.cycle(status.cycle, levels.cs_n, levels.sck, levels.copi, flash_noise);
    }

    // One clock with one eval. Flash outputs behind logic are settled first, but only while the flash is selected: its
    // selection is then seen a cycle late, before the first edge of its clock and so in time.
    void clock()
    {
        Model &m = *model;
        Levels &l = levels;
        FLASH_OUTPUTS(early);
        OTHER_OUTPUTS(early);
        if (!FLASH_OUTPUTS_ARE_REGISTERS && !l.cs_n) {
            settle_outputs();
            FLASH_OUTPUTS(late);
        }
        m.p_flash__cipo.data[0] = flash_output();
        clock_edge();
        FLASH_OUTPUTS(late);
        OTHER_OUTPUTS(late);
    }

    // One clock in two phases, as CXXRTL's own step() does it: the reference.
    void clock_in_two_phases()
    {
        Model &m = *model;
        Levels &l = levels;
        m.p_clk.set<uint32_t>(0);
        m.step();
        FLASH_OUTPUTS(early), FLASH_OUTPUTS(late);
        m.p_flash__cipo.data[0] = flash_output();
        m.step();
        OTHER_OUTPUTS(early), OTHER_OUTPUTS(late);
        m.p_clk.set<uint32_t>(1);
        m.step();
    }

    template <bool two_phase> void cycle()
    {
        Levels before = levels;
        int sent = -1;
        model->p_admin__rx.data[0] = admin_in.cycle(sent);
        if (sent >= 0)
            status.admin_in++, log(Event::ADMIN_IN, uint32_t(sent));
        sent = -1;
        model->p_peer__rx.data[0] = peer_in.cycle(sent);
        if (sent >= 0)
            status.peer_in++, log(Event::PEER_IN, uint32_t(sent));
        if (status.cycle >= release_at)
            button(false, 0);
        model->p_button.data[0] = status.button;

        if (two_phase)
            clock_in_two_phases();
        else
            clock();
        const Levels &l = levels;

        receive(admin_out, l.admin_tx, status.admin_out, Event::ADMIN_OUT);
        receive(peer_out, l.peer_tx, status.peer_out, Event::PEER_OUT);
        if (l.ring_run && !before.ring_run) { // one event per measurement; stale counts never reach the next one
            status.measurements++;
            status.window = 0;
            show_counts(l.ring_index, true);
        }
        status.window += l.ring_run;
        status.noise_bits += l.take;
        if (!l.enable) // rings that do not run give no noise
            model->p_trng__sample.data[0] = 0;
        else if (l.take || !before.enable)
            model->p_trng__sample.data[0] = source.next(bit_noise);
        if (l.led != before.led)
            log(Event::LED, l.led);
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
                        l.take << 6 | l.idle << 7 | l.enable << 11 | l.led << 8 | l.phase << 12 | l.ring_index << 16;
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
               !peer_out.busy() && !flash.busy() && !status.button;
    }

    template <bool two_phase> Stop run(uint64_t cycles, size_t admin_bytes, size_t peer_bytes, bool until_quiet)
    {
        for (uint64_t i = 0; i < cycles; i++) {
            if (status.cycle >= cut_at)
                power(false);
            if (!model)
                return OFF;
            cycle<two_phase>();
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
    Stop stop = b->parameters.two_phase ? b->run<true>(cycles, admin_bytes, peer_bytes, until_quiet)
                                        : b->run<false>(cycles, admin_bytes, peer_bytes, until_quiet);
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
