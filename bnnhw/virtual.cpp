// A board that Verilator has compiled, behind a pseudo-terminal: what a host program writes there arrives bit by bit at
// the board's pin rx, and what the board sends at pin tx can be read there.
//
// Arguments are KEY=VALUE; bnnhw/virtual.py gives them and says what they mean. Standard output: a line "port NAME" at
// the start; a line "ended CYCLES RECEIVED SENT FLIPPED DROPPED RESETS" at the end, which comes when standard input ends
// or with SIGINT or SIGTERM.

#include "Vtop.h"
#include "verilated.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <string>
#include <termios.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int RESET_CYCLES = 8;
constexpr uint64_t LOOK_CYCLES = 400;       // between looks at the pseudo-terminal while the line from the host is idle
constexpr size_t READ_BYTES = 64;           // taken from it at a time: what the host can no longer call back
constexpr size_t PENDING_BYTES = 1 << 20;   // kept for a host that does not read
constexpr int LOOK_MS = 100;                // between looks for the end while all is quiet

volatile sig_atomic_t ended = 0;

void on_signal(int) { ended = 1; }

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

class Random {  // xorshift64*
    uint64_t state;
public:
    explicit Random(uint64_t seed) : state{seed * 0x9E3779B97F4A7C15ull + 0x1234567890ABCDEFull} {}
    uint64_t next() {
        state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    double chance() { return (next() >> 11) * 0x1.0p-53; }
};

// The line between host and board, which may drop a byte or flip bits of it.
struct Line {
    Random random;
    double flip, drop;
    uint64_t flipped = 0, dropped = 0;

    bool pass(uint8_t& byte) {
        const double chance = random.chance();
        if (chance < drop) { ++dropped; return false; }
        if (chance < drop + flip) { ++flipped; byte ^= 1 + random.next() % 255; }
        return true;
    }
};

class Terminal {
    int master, slave;  // the slave stays open, so that a host may come and go
    std::deque<uint8_t> pending;
public:
    std::string name;

    Terminal() {
        master = posix_openpt(O_RDWR | O_NOCTTY);
        if (master < 0 || grantpt(master) || unlockpt(master)) fail("pseudo-terminal");
        name = ptsname(master);
        slave = open(name.c_str(), O_RDWR | O_NOCTTY);
        termios settings;
        if (slave < 0 || tcgetattr(slave, &settings)) fail("pseudo-terminal");
        cfmakeraw(&settings);
        if (tcsetattr(slave, TCSANOW, &settings)) fail("pseudo-terminal");
        fcntl(master, F_SETFL, O_NONBLOCK);
    }
    size_t read(uint8_t* bytes, size_t count) {
        const ssize_t got = ::read(master, bytes, count);
        return got > 0 ? got : 0;
    }
    void write(uint8_t byte) {
        pending.push_back(byte);
        if (pending.size() > PENDING_BYTES) pending.pop_front();
    }
    void flush() {
        while (!pending.empty()) {
            uint8_t chunk[256];
            const size_t count = std::min(pending.size(), sizeof chunk);
            std::copy_n(pending.begin(), count, chunk);
            const ssize_t put = ::write(master, chunk, count);
            if (put <= 0) return;
            pending.erase(pending.begin(), pending.begin() + put);
        }
    }
    // Wait until the host writes, reads what is pending, or a while has passed.
    void wait() {
        pollfd wanted[] = {{STDIN_FILENO, POLLIN, 0}, {master, short(POLLIN | (pending.empty() ? 0 : POLLOUT)), 0}};
        poll(wanted, 2, LOOK_MS);
    }
};

bool input_ended() {
    pollfd wanted{STDIN_FILENO, POLLIN, 0};
    if (poll(&wanted, 1, 0) <= 0) return false;
    char byte;
    return ::read(STDIN_FILENO, &byte, 1) <= 0;
}

struct Settings {
    int divisor = 4;
    uint64_t quiet = 20000, seed = 0;
    double flip = 0, drop = 0;
    std::vector<uint64_t> resets;   // after so many bytes from the host

    void set(const std::string& argument) {
        const size_t equals = argument.find('=');
        const std::string key = argument.substr(0, equals), value = argument.substr(equals + 1);
        if (key == "divisor") divisor = std::stoi(value);
        else if (key == "quiet") quiet = std::stoull(value);
        else if (key == "seed") seed = std::stoull(value);
        else if (key == "flip") flip = std::stod(value);
        else if (key == "drop") drop = std::stod(value);
        else if (key == "reset") resets.push_back(std::stoull(value));
        else { std::fprintf(stderr, "unknown setting %s\n", key.c_str()); std::exit(2); }
    }
};

// Sends bytes to a pin: start bit, eight data bits, stop bit.
struct Sender {
    int divisor, timer = 0;
    uint32_t bits = 0;      // what is still to be sent, with a 1 above its last bit

    bool idle() const { return bits <= 1 && timer == 0; }
    void start(uint8_t byte) { bits = 0b11u << 9 | uint32_t(byte) << 1; }
    uint8_t step() {
        const uint8_t level = bits > 1 ? bits & 1 : 1;
        if (bits > 1 && ++timer == divisor) { timer = 0; bits >>= 1; }
        return level;
    }
};

// Takes bytes from a pin, each bit from its middle.
struct Receiver {
    int divisor, timer = 0, place = -1;
    uint8_t byte = 0;

    // Whether this level completes a byte.
    bool step(uint8_t level) {
        if (place < 0) {
            if (!level) { place = 0; timer = divisor / 2; }
            return false;
        }
        if (--timer > 0) return false;
        timer = divisor;
        if (place == 0 && level) { place = -1; return false; }
        if (place >= 1 && place <= 8) byte = byte >> 1 | level << 7;
        if (place++ < 9) return false;
        place = -1;
        return level;
    }
};

}  // namespace

int main(int count, char** arguments) {
    Settings settings;
    for (int k = 1; k < count; ++k) settings.set(arguments[k]);
    std::sort(settings.resets.begin(), settings.resets.end());
    struct sigaction action{};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);

    Terminal terminal;
    std::printf("port %s\n", terminal.name.c_str());
    std::fflush(stdout);

    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vtop>(context.get());
    Line to_board{Random(2 * settings.seed + 1), settings.flip, settings.drop};
    Line from_board{Random(2 * settings.seed + 2), settings.flip, settings.drop};
    Sender sender{settings.divisor};
    Receiver receiver{settings.divisor};
    std::deque<uint8_t> waiting;
    uint64_t cycle = 0, received = 0, sent = 0, resets = 0, last_busy = 0, next_look = 0;
    int reset_left = RESET_CYCLES;

    while (!ended) {
        if (sender.idle()) {
            if (waiting.empty() && cycle >= next_look) {
                next_look = cycle + LOOK_CYCLES;
                terminal.flush();
                if (cycle - last_busy > settings.quiet) terminal.wait();
                if (input_ended()) break;
                uint8_t bytes[READ_BYTES];
                const size_t got = terminal.read(bytes, sizeof bytes);
                for (size_t k = 0; k < got; ++k) {
                    ++received;
                    if (resets < settings.resets.size() && received > settings.resets[resets]) {
                        ++resets;
                        reset_left = RESET_CYCLES;
                    }
                    if (to_board.pass(bytes[k])) waiting.push_back(bytes[k]);
                }
                if (got) next_look = cycle;
            }
            if (!waiting.empty()) {
                sender.start(waiting.front());
                waiting.pop_front();
                last_busy = cycle;
            }
        }
        top->rst = reset_left > 0;
        reset_left -= reset_left > 0;
        top->rx = sender.step();
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
        ++cycle;
        if (receiver.step(top->tx)) {
            uint8_t byte = receiver.byte;
            ++sent;
            last_busy = cycle;
            if (from_board.pass(byte)) terminal.write(byte);
            terminal.flush();
        }
    }
    top->final();
    std::printf("ended %llu %llu %llu %llu %llu %llu\n", (unsigned long long)cycle, (unsigned long long)received,
                (unsigned long long)sent, (unsigned long long)(to_board.flipped + from_board.flipped),
                (unsigned long long)(to_board.dropped + from_board.dropped), (unsigned long long)resets);
}
