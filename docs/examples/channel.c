/* Current of a population of ion channels that open and close at random.
 *
 *   channel ALPHA BETA CURRENT SEED
 *
 * ALPHA, BETA: rates of opening and closing, 1/ms; CURRENT: of one open channel, pA; SEED: a whole
 * number. Prints mean (pA), standard deviation (pA) and correlation over 1 ms of 2 s, on one line.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHANNELS = 100, STEPS = 20000, LAG = 10 };
static const double dt = 0.1; /* ms */

static uint64_t state;

static double uniform(void) { /* splitmix64: Steele, Lea & Flood, OOPSLA (2014) */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static int out_of(int n, double p) { /* how many of n do what has chance p */
    int count = 0;
    while (n-- > 0) count += uniform() < p;
    return count;
}

int main(int argc, char **argv) {
    static double x[STEPS];
    if (argc != 5) {
        fprintf(stderr, "Expected ALPHA BETA CURRENT SEED; got %d arguments.\n", argc - 1);
        return 2;
    }
    double alpha = atof(argv[1]), beta = atof(argv[2]), current = atof(argv[3]);
    state = strtoull(argv[4], NULL, 10);
    if (!(alpha > 0 && beta > 0)) {
        fprintf(stderr, "Expected rates above 0; got %g and %g.\n", alpha, beta);
        return 2;
    }
    double relax = 1 - exp(-(alpha + beta) * dt), share = alpha / (alpha + beta);
    int open = out_of(CHANNELS, share);
    double mean = 0, variance = 0, lagged = 0;
    for (int i = 0; i < STEPS; i++) {
        int opened = out_of(CHANNELS - open, relax * share);
        int closed = out_of(open, relax * (1 - share));
        open += opened - closed;
        x[i] = current * open;
        mean += x[i] / STEPS;
    }
    for (int i = 0; i < STEPS; i++) variance += (x[i] - mean) * (x[i] - mean) / STEPS;
    for (int i = LAG; i < STEPS; i++) lagged += (x[i] - mean) * (x[i - LAG] - mean) / STEPS;
    printf("%.9g %.9g %.9g\n", mean, sqrt(variance), lagged / variance);
    return 0;
}
