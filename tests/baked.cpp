// Reads vectors of X bits (packed bytes), one per clock, and prints the Y bits of module `top` after each edge. Before it
// comes an edge with other inputs that is not enabled.
#include "Vtop.h"
#include "verilated.h"

#include <cstdio>
#include <vector>

int main() {
    Vtop top;
    std::vector<unsigned char> in((X + 7) / 8), out((Y + 7) / 8);
    while (std::fread(in.data(), 1, in.size(), stdin) == in.size()) {
        for (int enabled = 0; enabled < 2; enabled++) {
            for (int k = 0; k < X; k++) {
                const uint32_t bit = 1u << k % 32;
                if ((in[k / 8] >> k % 8 & 1) == enabled) top.x[k / 32] |= bit;
                else top.x[k / 32] &= ~bit;
            }
            top.en = enabled;
            top.eval();
            top.clk = 1;
            top.eval();
            top.clk = 0;
            top.eval();
        }
        std::fill(out.begin(), out.end(), 0);
        for (int k = 0; k < Y; k++) out[k / 8] |= (top.y[k / 32] >> k % 32 & 1) << k % 8;
        std::fwrite(out.data(), 1, out.size(), stdout);
    }
}
