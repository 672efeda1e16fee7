/* place: where a model runs. */
#pragma once
#include "compute/devices.h"
#include "compute/exec.h"

/* Chooses the backend for plan p and opens its device: params->opened, as exec_device_open leaves
 * it. name, and params->device, are what a user asked for. Either given: that one (backend_choose),
 * or NULL and e. Neither: the best GPU that has what the kernels need, room for p and params
 * (whose n_ctx, in tokens, is the least to be content with) and gains over the processor, else
 * cpu; log says why not, as a warning where there is such a GPU at all. Those that were tried in
 * vain are in params->not_devices. */
const struct backend *place_choose(const char *name, const struct plan *p,
                                   struct exec_params *params, const struct log *log,
                                   struct err *e);
/* The last part of it, on a machine with these devices (devices_list), which `gpu` opens. */
const struct backend *place_among(const struct device *devices, size_t n, const struct backend *gpu,
                                  const struct plan *p, struct exec_params *params,
                                  const struct log *log);
