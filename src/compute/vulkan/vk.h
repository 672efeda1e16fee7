/* vk: the device layer under the vulkan backend: loader, device, memory, pipelines, submits. It
 * knows nothing of models. One device per exec; one thread at a time, but for what says otherwise.
 *
 * Everything a shader touches is reached through buffer device addresses that travel in push
 * constants (VK_PUSH_BYTES of them): there are no descriptor sets. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "compute/vulkan/vk_api.h"

enum { VK_PUSH_BYTES = 128, VK_MAX_CONSTS = 24, VK_CONST_THREADS = 30, VK_CONST_SUBGROUP = 31 };
/* Threads of a subgroup, at least: so many share a block of 32 activations, and look into one
 * another's registers. A device may have smaller ones beside such. And of a workgroup, see
 * shaders/common.glsl; and bytes of its shared memory, see shaders/pick.comp. */
enum { VK_LEAST_LANES = 8, VK_LEAST_THREADS = 256, VK_LEAST_SHARED = 20480 };

/* ---- devices ----------------------------------------------------------------------------------
 */

struct vk_caps {
    char name[256];                      /* of the device */
    char driver[256];                    /* name and version */
    bool is_software;                    /* a CPU pretending */
    bool is_unified;                     /* one memory with the CPU */
    uint32_t subgroup_min, subgroup_max; /* equal where the size cannot be chosen */
    uint32_t shared_bytes;               /* of a workgroup */
    uint32_t max_workgroup;              /* invocations */
    uint32_t n_cores;    /* multiprocessors or compute units; 0: the device does not say */
    uint64_t max_alloc;  /* bytes of one buffer */
    uint64_t heap_bytes; /* device-local memory, all heaps that device buffers use */
    uint64_t free_bytes; /* of that, what was left at vk_open: vk_free_bytes says what is now */
    double timestamp_ns; /* per tick; 0: no timestamps */
    bool has_dot;        /* packed 4x8 signed integer dot product is accelerated */
    /* Shape of the KHR cooperative matrices f16 x f16 -> f32 of a subgroup: 16 x 16 x 16 where that
     * is among the device's, else one of its own (lavapipe: 8 x 8 x 8); 0: none. Shaders take it as
     * specialisation constants. matrix_narrow: columns of the narrowest of as many rows and as
     * deep, matrix_n where there is no other (NVIDIA: 8). */
    uint32_t matrix_m, matrix_n, matrix_k, matrix_narrow;
};

struct vk_params {
    const char *device;   /* part of a name, or an index of devices_list; NULL: the best that is no
                             software */
    bool allow_software;  /* take a software device without being asked for it by name */
    uint64_t not_devices; /* without a name: indices of devices_list that are not taken, bits */
    bool or_next; /* without a name: where the best one does not open, the next one is taken */
    const char *loader;     /* library to open [libvulkan.so.1] */
    const char *cache_path; /* file of the pipeline cache; NULL: none. Rewritten when it grew,
                               atomically; a damaged one or one of another device is ignored */
    bool validate;       /* enable the validation layer, synchronisation included; its messages are
                            logged and counted */
    bool staged;         /* do not map device memory, as if the device were a card: for tests */
    atomic_int *lose_in; /* for tests: submits left until the device counts as lost; below 1: it
                            does not. NULL: nothing is counted */
    uint64_t max_alloc;  /* for tests: allocations are no larger; 0: as the device has it */
    bool statistics;     /* pipelines keep the compiler's numbers where the driver has them */
};

struct vk;
/* A device that is not there, to plan for: vk_caps and vk_free_bytes answer, vk_close frees it, and
 * nothing else may be asked of it. */
struct vk *vk_imagine(const struct vk_caps *caps);
/* NULL and e: no loader, no device, a missing feature (named), or a software device that nobody
 * asked for; the message says what to do. */
struct vk *vk_open(const struct vk_params *params, const struct log *log, struct err *e);
void vk_close(struct vk *vk);
const struct vk_caps *vk_caps(const struct vk *vk);
/* Bytes left for device buffers now: its memory less our own buffers, or less where the device says
 * so (VK_EXT_memory_budget). Any thread. */
uint64_t vk_free_bytes(const struct vk *vk);
/* Messages of the validation layer so far: tests want 0. */
uint32_t vk_validation_errors(const struct vk *vk);

/* ---- memory -----------------------------------------------------------------------------------
 */

enum vk_place {
    VK_PLACE_DEVICE,   /* device-local; host-visible too where that costs nothing */
    VK_PLACE_UPLOAD,   /* host-visible, written by the CPU, read by the device */
    VK_PLACE_READBACK, /* host-visible and cached: written by the device, read by the CPU */
};

struct vk_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkDeviceAddress address;
    enum vk_place place;
    uint64_t n_bytes;
    void *host; /* mapped and coherent; NULL: not host-visible */
};
/* n_bytes > 0. Zeroed memory is not promised. ERR_MEMORY names what (for the message), bytes and
 * what is free. Any thread, as for all of this part. */
bool vk_buffer_make(struct vk *vk, enum vk_place place, uint64_t n_bytes, const char *what,
                    struct vk_buffer *out, struct err *e);
void vk_buffer_free(struct vk *vk, struct vk_buffer *b);
/* Copies between host memory and a buffer that no submit in flight uses, through a staging buffer
 * where it is not mapped; returns when it is done. ERR_DEVICE. */
bool vk_write(struct vk *vk, const struct vk_buffer *b, uint64_t offset, const void *data,
              uint64_t n_bytes, struct err *e);
bool vk_read(struct vk *vk, const struct vk_buffer *b, uint64_t offset, void *out, uint64_t n_bytes,
             struct err *e);
/* offset and n_bytes are multiples of 4. */
bool vk_fill_zero(struct vk *vk, const struct vk_buffer *b, uint64_t offset, uint64_t n_bytes,
                  struct err *e);

/* Uploads in the background of the caller's work (loading weights): a ring of staging buffers whose
 * copies run while the next piece is being made. Any number of threads. Staging buffers come with
 * the first piece that needs one: none for mapped memory. */
struct vk_upload;
struct vk_upload *vk_upload_begin(struct vk *vk, uint64_t piece_bytes);
/* n_bytes <= piece_bytes from data (may be changed after the call) to b at offset. */
bool vk_upload_piece(struct vk_upload *u, const struct vk_buffer *b, uint64_t offset,
                     const void *data, uint64_t n_bytes, struct err *e);
/* The same without the copy: take, write [n_bytes] at host (never read there: it may be uncached),
 * give. host is the buffer itself where it is mapped. A thread holds one piece at a time. drop in
 * place of give when there was nothing to write after all. */
struct vk_piece {
    void *host;
    uint64_t n_bytes;
    const struct vk_buffer *b;
    uint64_t offset;
    struct vk_upload_slot *slot;
};
bool vk_upload_take(struct vk_upload *u, const struct vk_buffer *b, uint64_t offset,
                    uint64_t n_bytes, struct vk_piece *out, struct err *e);
bool vk_upload_give(struct vk_upload *u, struct vk_piece *piece, struct err *e);
void vk_upload_drop(struct vk_upload *u, struct vk_piece *piece);
/* Waits for all copies and frees u. */
bool vk_upload_end(struct vk_upload *u, struct err *e);

/* ---- pipelines --------------------------------------------------------------------------------
 */

/* The compute shaders that are built in, shaders/NAME.comp: VK_SHADER_NAME (vk_shaders.h). */
struct vk_pipeline_spec {
    uint16_t shader; /* enum vk_shader */
    uint16_t n_consts;
    uint32_t subgroup; /* required size, then full: local_size_x is a multiple of it; 0: the device
                          chooses. Also specialisation constant VK_CONST_SUBGROUP */
    uint32_t threads;  /* of a workgroup, where the shader leaves that open: specialisation constant
                          VK_CONST_THREADS; 0: as the shader has it */
    uint32_t consts[VK_MAX_CONSTS]; /* specialisation constants 0, 1, 2, ...; 32-bit */
};
/* Makes n pipelines with as many threads as there are processors. out[i] stays valid until
 * vk_close; equal specs give equal pipelines. ERR_UNSUPPORTED names the shader. */
bool vk_pipelines_make(struct vk *vk, const struct vk_pipeline_spec *specs, uint32_t n,
                       VkPipeline *out, struct err *e);

/* What the driver's compiler says about a pipeline: its name for a number and the number. Nothing
 * without vk_params.statistics or where the driver has no VK_KHR_pipeline_executable_properties. */
struct vk_number {
    char name[64];
    double value;
};
enum { VK_MAX_NUMBERS = 64 };
struct vk_report {
    struct vk_number numbers[VK_MAX_NUMBERS];
    uint32_t n;
    uint32_t subgroup;
    char *code; /* the listing of its instructions, or NULL; freed with free() */
};
bool vk_pipeline_report(struct vk *vk, VkPipeline pipeline, struct vk_report *out, struct err *e);

/* ---- commands ---------------------------------------------------------------------------------
 */

/* A recorded list of dispatches, submitted any number of times. It begins after everything that was
 * submitted before has ended, and sees it. */
struct vk_cmds;
struct vk_cmds *vk_cmds_begin(struct vk *vk, struct err *e);
void vk_cmds_dispatch(struct vk_cmds *c, VkPipeline pipeline, const void *push, uint32_t n_push,
                      uint32_t x, uint32_t y, uint32_t z);
/* The three counts stand in the buffer at offset, written by the host or an earlier dispatch. */
void vk_cmds_dispatch_indirect(struct vk_cmds *c, VkPipeline pipeline, const void *push,
                               uint32_t n_push, const struct vk_buffer *b, uint64_t offset);
/* Everything before is finished and seen by everything after (indirect counts included). */
void vk_cmds_barrier(struct vk_cmds *c);
/* The same between dispatches alone, indirect ones not: cheaper. */
void vk_cmds_barrier_dispatches(struct vk_cmds *c);
void vk_cmds_copy(struct vk_cmds *c, const struct vk_buffer *from, uint64_t from_offset,
                  const struct vk_buffer *to, uint64_t to_offset, uint64_t n_bytes);
/* Writes a timestamp when everything before has ended; label is kept as a pointer. */
void vk_cmds_stamp(struct vk_cmds *c, const char *label, uint32_t layer);
/* Ends recording; makes device writes visible to the host after vk_wait. False: out of memory. */
bool vk_cmds_end(struct vk_cmds *c, struct err *e);
/* After vk_wait. c may be NULL. */
void vk_cmds_free(struct vk_cmds *c);
/* As recorded; barriers without those at the beginning and the end. */
uint32_t vk_cmds_dispatches(const struct vk_cmds *c);
uint32_t vk_cmds_barriers(const struct vk_cmds *c);
struct vk_stamp {
    const char *label;
    uint32_t layer;
    double at_ns; /* on the device's clock, which begins anywhere */
    double ns;    /* since the stamp before; 0 for stamp 0 */
};
/* Stamp i of the last run that was waited for; 0 has to be asked for first: it fetches all. False
 * past the last and without timestamps. */
bool vk_cmds_stamp_get(struct vk_cmds *c, uint32_t i, struct vk_stamp *out);
/* Submits; host writes made before are visible to it. One submit of the same cmds at a time. */
bool vk_submit(struct vk *vk, struct vk_cmds *c, struct err *e);
/* Waits for the newest submit without spinning. ERR_DEVICE with one line when the device was lost
 * (then every call fails, and a new one has to be opened) or did not finish within timeout_ms: then
 * nothing can be submitted, and what is freed stays allocated, until a later vk_wait succeeds. */
bool vk_wait(struct vk *vk, uint32_t timeout_ms, struct err *e);
/* The same for the newest submit of c and what was submitted before it. */
bool vk_wait_cmds(struct vk *vk, const struct vk_cmds *c, uint32_t timeout_ms, struct err *e);
