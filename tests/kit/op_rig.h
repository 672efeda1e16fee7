/* op_rig: one op of a plan over random weights, run by every backend and compared with ref. A
 * backend is one line in op_rig.c; what it refuses as ERR_UNSUPPORTED is counted and passed over.
 * Every failure ends the test. */
#pragma once
#include "kit/models.h"

enum { N_RIG_TYPES = 16, N_RIG_BACKENDS = 2 };
extern const enum block_type rig_types[N_RIG_TYPES];

/* One op under test: its plan, the rows that go in, and which slots come out. The rows run in
 * steps, each one batch; inputs hold the rows of all steps. */
enum { MAX_STEPS = 5, MAX_SLOTS = 8, MAX_OWNED = 64 };
struct rig {
    char what[96]; /* the case, for messages */
    struct rng rng;
    struct plan plan;
    struct exec_params params;
    bool coarse;           /* the cache may be quantised, and so queries */
    bool quantised, mixed; /* a matrix is; matrices are of several types */
    enum block_type type;  /* of the last matrix */
    size_t n_matrices;
    uint32_t n_steps, n_rows[MAX_STEPS], n_total;
    uint32_t *pos, *seq; /* [n_total]; NULL: positions from 0 of sequence 0 */
    struct {
        slot_id slot;
        void *rows; /* [n_total][width] */
    } inputs[MAX_SLOTS];
    size_t n_inputs;
    slot_id outputs[MAX_SLOTS];
    size_t n_outputs;
    void *owned[MAX_OWNED];
    size_t n_owned;
};

/* Cases that a backend ran and refused, over one test. */
struct rig_count {
    bool all; /* no backend leaves one out, however slow it is */
    int cases, done[N_RIG_BACKENDS], refused[N_RIG_BACKENDS];
};

/* Cases of a test take different random numbers. */
struct rig rig_open(uint64_t i_case, uint32_t n_rows);
/* Frees what rig_check was not given. */
void rig_close(struct rig *r);
/* Freed by rig_check. */
void *rig_own(struct rig *r, void *p);
bool rig_is_float(enum block_type type);
/* Random weights, {n_in, n_out, n}. */
const struct weight *rig_matrix(struct rig *r, enum block_type type, uint64_t n_in, uint64_t n_out,
                                uint64_t n);
/* A vector, or n_rows of them, F32. */
const struct weight *rig_floats(struct rig *r, uint64_t n, uint64_t n_rows, float mean);
/* Slots of `width` floats a row: filled with random ones, compared, both. */
slot_id rig_input(struct rig *r, const char *name, uint32_t width);
slot_id rig_output(struct rig *r, const char *name, uint32_t width);
/* A slot that the op reads and changes. */
slot_id rig_in_and_out(struct rig *r, const char *name, uint32_t width);
/* n_used different experts per row. */
slot_id rig_expert_ids(struct rig *r, uint32_t n_expert, uint32_t n_used);
/* Runs all steps on a fresh exec of each backend, counts, and frees the rig. compare: the relative
 * error of got, whatever that means for the op; rig_whole: of all floats together. */
void rig_check(struct rig *r,
               double (*compare)(const struct rig *, const float *got, const float *want),
               struct rig_count *count);
/* A second run gives the same bits. */
void rig_check_same_bits(const char *backend, const struct rig *r);
double rig_whole(const struct rig *r, const float *got, const float *want);
/* Prints the counts; the test is skipped where a backend that this build checks ran nothing: no
 * device, or it refuses all. */
void rig_report(const struct rig_count *count);
