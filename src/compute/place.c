#include "compute/place.h"

#include <stdlib.h>

/* The best device of those that were not tried; NULL: all others are software. */
static const struct device *best_of(const struct device *devices, size_t n, uint64_t tried,
                                    bool allow_software)
{
    const struct device *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (!(tried >> i & 1) && (devices[i].rank || allow_software) &&
            (!best || (devices[i].rank && (!best->rank || devices[i].rank < best->rank))))
            best = &devices[i];
    return best;
}

/* Is it worth taking without being asked? In one memory with the processor it reads weights no
 * faster, and without quick dot products it cannot unpack them as fast as they come. */
static bool gains(const struct device *d, struct err *e)
{
    if (*d->why_not)
        return err_set(e, ERR_UNSUPPORTED, "%s", d->why_not);
    if (d->is_unified && !d->has_dot && !d->is_software)
        return err_set(e, ERR_UNSUPPORTED,
                       "it shares the processor's memory and has no fast dot products of 8-bit "
                       "integers");
    return true;
}

static bool has_room(const struct backend *b, const struct plan *p,
                     const struct exec_params *params, struct err *e)
{
    struct mem_table table;
    return exec_memory(b, p, params, &table, e) && mem_table_check(&table, e);
}

/* The device is open, and there is room. */
static bool take(const struct device *d, const struct backend *gpu, const struct plan *p,
                 struct exec_params *params, const struct log *log, struct err *why)
{
    if (!gains(d, why) || !exec_device_open(gpu, params, log, why))
        return false;
    if (has_room(gpu, p, params, why))
        return true;
    exec_device_close(gpu, params);
    return false;
}

const struct backend *place_among(const struct device *devices, size_t n, const struct backend *gpu,
                                  const struct plan *p, struct exec_params *params,
                                  const struct log *log)
{
    struct err why;
    const struct device *d = best_of(devices, n, 0, params->allow_software), *next;
    if (!d) {
        log_info(log, "the processor runs the model: there is no GPU with a driver for Vulkan");
        return &backend_cpu;
    }
    for (; d; d = next) {
        if (take(d, gpu, p, params, log, &why)) {
            log_info(log, "the model runs on %s", d->name);
            return gpu;
        }
        params->not_devices |= 1ull << (d - devices);
        next = best_of(devices, n, params->not_devices, params->allow_software);
        log_warn(log, "%s, not %s: %s",
                 next ? "another device is tried" : "the processor runs the model", d->name,
                 why.msg);
    }
    return &backend_cpu;
}

const struct backend *place_choose(const char *name, const struct plan *p,
                                   struct exec_params *params, const struct log *log, struct err *e)
{
    const struct backend *b;
    if (name || params->device) {
        b = backend_choose(name, params->device, e);
        return b && exec_device_open(b, params, log, e) ? b : NULL;
    }
    size_t n = 0;
    struct err why;
    struct device *devices = devices_list(NULL, &n, &why);
    if (devices) {
        b = place_among(devices, n, &backend_vulkan, p, params, log);
    } else {
        log_info(log, "the processor runs the model: %s", why.msg);
        b = &backend_cpu;
    }
    free(devices);
    return b;
}
