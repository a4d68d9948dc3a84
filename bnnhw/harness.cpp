// Drives an accelerator with AXI4-Stream ports that Verilator has compiled: frames from a file in, results to a file.
//
// Arguments are KEY=VALUE; bnnhw/simulate.py gives them and says what they mean. Standard output: a line
// "done FRAMES CYCLES" now and then, and at the end one of
//   "ring NAME FREE" for every buffer, FREE the fewest free places that it had, then "finished CYCLES"
//   "hang CYCLE" then "stream NAME VALID READY WORDS" for every stream
//   "protocol CYCLE MESSAGE"
// with exit status 0, 3 and 4.

#include "Vtop.h"
#include "verilated.h"
#include "verilated_syms.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr int RESET_CYCLES = 4;
constexpr int EXIT_HANG = 3, EXIT_PROTOCOL = 4, EXIT_USAGE = 5;

using Bytes = std::vector<uint8_t>;

// Ports of up to 64 bits are integers, wider ones arrays of 32-bit words: little-endian bytes either way.
template <typename Port> void put(Port& port, const uint8_t* bytes, size_t count) {
    std::memcpy(static_cast<void*>(&port), bytes, count);
}
template <typename Port> int64_t get_signed(const Port& port, size_t count) {
    uint64_t value = 0;
    std::memcpy(&value, static_cast<const void*>(&port), count);
    const unsigned unused = 64 - 8 * count;
    return static_cast<int64_t>(value << unused) >> unused;
}

// The frame's task on the port s_axis_tuser, which only an accelerator with several tasks has.
template <typename Top> auto put_task(Top& top, unsigned task, int) -> decltype(top.s_axis_tuser, void()) {
    top.s_axis_tuser = task;
}
template <typename Top> void put_task(Top&, unsigned, long) {}

class Random {  // xorshift64*
    uint64_t state;
public:
    explicit Random(uint64_t seed) : state{seed * 0x9E3779B97F4A7C15ull + 0x1234567890ABCDEFull} {}
    bool happens(double chance) {
        if (chance >= 1.0) return true;
        state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
        return ((state * 0x2545F4914F6CDD1Dull) >> 11) * 0x1.0p-53 < chance;
    }
};

struct Stream {  // one inside the accelerator, as public wires NAME__payload, NAME__valid, NAME__ready
    std::string name;
    const uint8_t* valid = nullptr;
    const uint8_t* ready = nullptr;
    const uint8_t* payload = nullptr;
    size_t bytes = 0;           // of a word; 0 where nobody asked for the words
    FILE* file = nullptr;
    uint64_t words = 0;
};

struct Ring {  // a buffer inside the accelerator, which counts its free places in a register
    std::string name;
    const void* free = nullptr;
    size_t bytes = 0;           // of the register
    uint64_t least = UINT64_MAX;
};

struct Record {
    int64_t first_in = 0, last_in = 0, first_out = 0, last_out = 0, error = 0;
};

[[noreturn]] void stop(int status, const std::string& message) {
    std::printf("%s\n", message.c_str());
    std::fflush(stdout);
    std::exit(status);
}

std::map<std::string, std::string> parse(int argc, char** argv) {
    std::map<std::string, std::string> found;
    for (int k = 1; k < argc; ++k) {
        const std::string text{argv[k]};
        const size_t split = text.find('=');
        if (split == std::string::npos) stop(EXIT_USAGE, "usage " + text);
        found[text.substr(0, split)] = text.substr(split + 1);
    }
    return found;
}

FILE* open(const std::string& path, const char* mode) {
    FILE* file = std::fopen(path.c_str(), mode);
    if (!file) stop(EXIT_USAGE, "usage cannot open " + path);
    return file;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The buffers that the arguments "ring.NAME=REGISTER:INSTANCE" ask for.
std::vector<Ring> rings(VerilatedContext& context, const std::map<std::string, std::string>& args) {
    std::vector<Ring> found;
    for (const auto& [key, value] : args) {
        if (key.rfind("ring.", 0) != 0) continue;
        const size_t split = value.find(':');
        const std::string variable = value.substr(0, split), instance = value.substr(split + 1);
        Ring ring{key.substr(5)};
        for (const auto& [scope, pointer] : *context.scopeNameMap())
            if (ends_with(scope, instance) && pointer->varsp())
                for (const auto& [name, what] : *pointer->varsp())
                    if (variable == name) {
                        ring.free = what.datap();
                        ring.bytes = what.entSize();
                    }
        if (!ring.free) stop(EXIT_USAGE, "usage there is no register " + value);
        found.push_back(ring);
    }
    return found;
}

std::vector<Stream> streams(VerilatedContext& context, const std::string& suffix) {
    std::map<std::string, Stream> found;
    for (const auto& [scope, pointer] : *context.scopeNameMap()) {
        const std::string name{scope};
        if (!ends_with(name, suffix) || !pointer->varsp()) continue;
        for (const auto& [key, variable] : *pointer->varsp()) {
            const std::string wire{key};
            const size_t split = wire.rfind("__");
            if (split == std::string::npos) continue;
            Stream& stream = found[wire.substr(0, split)];
            const auto* data = static_cast<const uint8_t*>(variable.datap());
            const std::string part = wire.substr(split + 2);
            (part == "valid" ? stream.valid : part == "ready" ? stream.ready : stream.payload) = data;
        }
    }
    std::vector<Stream> whole;
    for (auto& [name, stream] : found) {
        if (!stream.valid || !stream.ready || !stream.payload) continue;
        stream.name = name;
        whole.push_back(stream);
    }
    return whole;
}

}  // namespace

int main(int argc, char** argv) {
    auto args = parse(argc, argv);
    const size_t count = std::stoull(args["count"]), lanes = std::stoull(args["lanes"]);
    const size_t frame_bytes = std::stoull(args["frame_bytes"]), beats_in = frame_bytes / lanes;
    const size_t beats_out = std::stoull(args["result_beats"]), beat_bytes = std::stoull(args["bytes_per_beat"]);
    const double p_valid = std::stod(args["p_valid"]), p_ready = std::stod(args["p_ready"]);
    const uint64_t seed = std::stoull(args["seed"]), patience = std::stoull(args["patience"]);
    const uint64_t drain = std::stoull(args["drain"]);

    Bytes frames(count * frame_bytes);
    FILE* input = open(args["frames"], "rb");
    if (std::fread(frames.data(), 1, frames.size(), input) != frames.size()) stop(EXIT_USAGE, "usage frames too short");
    std::fclose(input);
    std::vector<uint32_t> tasks(count);
    const unsigned task_mask = args.count("task_mask") ? std::stoul(args["task_mask"]) : 0;
    if (task_mask) {
        input = open(args["tasks"], "rb");
        if (std::fread(tasks.data(), sizeof tasks[0], tasks.size(), input) != tasks.size()) stop(EXIT_USAGE, "usage tasks too short");
        std::fclose(input);
    }
    std::vector<int64_t> beats(count * beats_out);
    std::vector<Record> records(count);

    VerilatedContext context;
    Vtop top{&context};
    std::vector<Stream> inner = streams(context, args["scope"]);
    std::vector<Ring> buffers = rings(context, args);
    for (auto& stream : inner) {
        const auto wanted = args.find("tap." + stream.name);
        if (wanted == args.end()) continue;
        const size_t split = wanted->second.find(':');
        stream.bytes = std::stoull(wanted->second.substr(0, split));
        stream.file = open(wanted->second.substr(split + 1), "wb");
        args.erase(wanted);
    }
    for (const auto& [key, value] : args)
        if (key.rfind("tap.", 0) == 0) stop(EXIT_USAGE, "usage there is no stream " + key.substr(4));

#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> trace;
    if (args.count("trace")) {
        context.traceEverOn(true);
        trace = std::make_unique<VerilatedVcdC>();
        top.trace(trace.get(), 99);
        trace->open(args["trace"].c_str());
        if (!trace->isOpen()) stop(EXIT_USAGE, "usage cannot open " + args["trace"]);
    }
#endif

    Random source{seed}, sink{seed + 1};
    size_t sent = 0, taken = 0;             // beats
    bool offering = false, held = false;
    int64_t held_data = 0;
    uint64_t quiet = 0, end = UINT64_MAX;
    int64_t cycle = -RESET_CYCLES;          // 0 is the first after the reset
    auto told = std::chrono::steady_clock::now();
    const auto protocol = [&](const std::string& message) {
        stop(EXIT_PROTOCOL, "protocol " + std::to_string(cycle) + " " + message);
    };

    for (; static_cast<uint64_t>(cycle + RESET_CYCLES) < end; ++cycle) {
        const bool running = cycle >= 0;
        if (running && !offering && sent < count * beats_in) offering = source.happens(p_valid);
        if (offering) put(top.s_axis_tdata, &frames[sent * lanes], lanes);
        if (offering) {     // of later beats another one, which must not count
            const unsigned task = tasks[sent / beats_in];
            put_task(top, (sent % beats_in == 0 ? task : ~task) & task_mask, 0);
        }
        top.s_axis_tlast = offering && sent % beats_in == beats_in - 1;
        top.s_axis_tvalid = offering;
        top.m_axis_tready = running && sink.happens(p_ready);
        top.aresetn = running;
        top.aclk = 0;
        top.eval();
#if VM_TRACE
        if (trace) trace->dump(static_cast<uint64_t>(2 * (cycle + RESET_CYCLES)));
#endif
        bool moved = false;
        if (running) {
            if (offering && top.s_axis_tready) {
                Record& record = records[sent / beats_in];
                if (sent % beats_in == 0) record.first_in = cycle;
                record.last_in = cycle;
                ++sent;
                offering = false;
                moved = true;
            }
            const int64_t value = get_signed(top.m_axis_tdata, beat_bytes);
            const int64_t shown = value * 4 + top.m_axis_tlast * 2 + top.m_axis_tuser;
            if (held && !top.m_axis_tvalid) protocol("m_axis_tvalid fell before its beat was taken");
            if (held && shown != held_data) protocol("a result beat changed before it was taken");
            held = top.m_axis_tvalid && !top.m_axis_tready;
            held_data = shown;
            if (top.m_axis_tvalid && top.m_axis_tready) {
                if (taken == count * beats_out) protocol("a result beat too many");
                const size_t place = taken % beats_out;
                Record& record = records[taken / beats_out];
                if (top.m_axis_tlast != (place == beats_out - 1))
                    protocol("m_axis_tlast is " + std::to_string(top.m_axis_tlast) + " on beat "
                             + std::to_string(place) + " of a result");
                if (place == 0) {
                    record.first_out = cycle;
                    record.error = top.m_axis_tuser;
                } else if (record.error != top.m_axis_tuser) {
                    protocol("m_axis_tuser changed within a result");
                }
                record.last_out = cycle;
                beats[taken++] = value;
                moved = true;
                if (taken == count * beats_out) end = cycle + RESET_CYCLES + 1 + drain;
            }
            for (auto& stream : inner) {
                if (!*stream.valid || !*stream.ready) continue;
                ++stream.words;
                moved = true;
                if (stream.file) std::fwrite(stream.payload, 1, stream.bytes, stream.file);
            }
            for (auto& ring : buffers) {
                uint64_t free = 0;
                std::memcpy(&free, ring.free, ring.bytes);
                ring.least = std::min(ring.least, free);
            }
        }
        top.aclk = 1;
        top.eval();
#if VM_TRACE
        if (trace) trace->dump(static_cast<uint64_t>(2 * (cycle + RESET_CYCLES) + 1));
#endif
        quiet = moved ? 0 : quiet + 1;
        if (quiet > patience && taken < count * beats_out) {
            std::printf("hang %lld\n", static_cast<long long>(cycle - quiet));
            std::printf("stream s_axis %d %d %zu\n", offering, top.s_axis_tready, sent);
            for (const auto& stream : inner)
                std::printf("stream %s %d %d %llu\n", stream.name.c_str(), *stream.valid, *stream.ready,
                            static_cast<unsigned long long>(stream.words));
            std::printf("stream m_axis %d %d %zu\n", top.m_axis_tvalid, top.m_axis_tready, taken);
#if VM_TRACE
            if (trace) trace->close();
#endif
            std::fflush(stdout);
            return EXIT_HANG;
        }
        if ((cycle & 1023) == 0) {
            const auto now = std::chrono::steady_clock::now();
            if (now - told > std::chrono::milliseconds{100}) {
                std::printf("done %zu %lld\n", taken / beats_out, static_cast<long long>(cycle));
                std::fflush(stdout);
                told = now;
            }
        }
    }

    for (auto& stream : inner)
        if (stream.file) std::fclose(stream.file);
#if VM_TRACE
    if (trace) trace->close();
#endif
    top.final();
    FILE* output = open(args["results"], "wb");
    std::fwrite(beats.data(), sizeof(int64_t), beats.size(), output);
    std::fwrite(records.data(), sizeof(Record), records.size(), output);
    std::fclose(output);
    for (const auto& ring : buffers)
        std::printf("ring %s %llu\n", ring.name.c_str(), static_cast<unsigned long long>(ring.least));
    std::printf("finished %lld\n", static_cast<long long>(cycle - static_cast<int64_t>(drain)));
    return 0;
}
