// Gives random inputs to module `beside` for some cycles and prints how often each of its outputs said "different".
#include "Vtop.h"
#include "verilated.h"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

int main(int argc, char** argv) {
    const int cycles = std::atoi(argv[1]);
    std::mt19937_64 random(1);
    Vtop top;
    std::vector<int> counts(OUTPUTS);
    for (int cycle = 0; cycle < cycles; cycle++) {
        for (int word = 0; word < 8; word++) top.r[word] = static_cast<uint32_t>(random());
        top.n = cycle;
        top.eval();
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
        for (int k = 0; k < OUTPUTS; k++) counts[k] += top.differ[k / 32] >> k % 32 & 1;
    }
    for (int count : counts) std::printf("%d\n", count);
}
