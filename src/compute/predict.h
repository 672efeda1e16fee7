/* predict: what a generated token takes on a GPU, told from the plan: the device need not be there.
 */
#pragma once
#include "compute/exec.h"

/* One row through the vulkan backend. A phase: dispatches without a barrier between them; the last
 * one finds the best tokens. */
struct predict_work {
    uint32_t n_phases, n_dispatches;
    uint32_t most_of_layer; /* phases of the layer that has most */
    double weight_bytes;    /* read, padding of the layout included */
};
/* Of a row that sees n_keys keys, on a device like Strix Halo's. params as for exec_open, with
 * n_ctx. ERR_UNSUPPORTED where the backend does not run the plan. */
bool predict_work(const struct plan *p, const struct exec_params *params, uint32_t n_keys,
                  struct predict_work *out, struct err *e);

/* The two constants of a machine: a token takes bytes / bytes_per_s + phases * phase_s. */
struct predict_machine {
    const char *name;
    double bytes_per_s, phase_s;
};
/* The rate that large reads reach there, of 256 GB/s; and what a phase costs in starting up and
 * running dry: the value by which the model gives what others measured on it with 13 phases a
 * layer. */
extern const struct predict_machine predict_strix_halo;
double predict_tokens_per_s(const struct predict_machine *m, double n_bytes, uint32_t n_phases);
