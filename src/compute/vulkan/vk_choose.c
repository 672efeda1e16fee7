/* Which device, and the list to choose from. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "compute/devices.h"
#include "compute/vulkan/vk_int.h"

/* Discrete cards first, then those built into a processor, then others, then software. */
static int rank(const struct vk_physical *p)
{
    switch (p->core.deviceType) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 3;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return 0;
    default: return 1;
    }
}

/* One that has all features before one that has not; among equals the one with more memory.
 * Software comes last where it may not be taken: then what a GPU lacks is what there is to say. */
static bool is_better(const struct vk_physical *a, const struct vk_physical *b, bool allow_software)
{
    if (a->caps.is_software != b->caps.is_software && !allow_software)
        return b->caps.is_software;
    if (a->is_usable != b->is_usable)
        return a->is_usable;
    if (rank(a) != rank(b))
        return rank(a) > rank(b);
    return a->caps.heap_bytes > b->caps.heap_bytes;
}

/* "Vulkan: there is no device X: 0 NAME, 1 NAME" */
static bool no_such_device(const struct vk_physical *all, uint32_t n, const char *wanted,
                           struct err *e)
{
    struct buf names = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_fmt(&names, "%s%u %s", i ? ", " : "", i, all[i].caps.name);
    err_set(e, ERR_USAGE, "Vulkan: there is no device '%s'; there are: %.*s", wanted,
            STRF(buf_view(&names)));
    buf_free(&names);
    return false;
}

/* By index when it is a number (llama.cpp writes Vulkan0), else by a part of the name in any case.
 */
static bool find_named(const struct vk_physical *all, uint32_t n, const char *wanted,
                       uint32_t *found, struct err *e)
{
    char *end;
    const char *digits = strncasecmp(wanted, "vulkan", 6) ? wanted : wanted + 6;
    const unsigned long index = strtoul(digits, &end, 10);
    if (isdigit((unsigned char)*digits) && !*end && index < n) {
        *found = (uint32_t)index;
        return true;
    }
    for (uint32_t i = 0; i < n; i++)
        if (strcasestr(all[i].caps.name, wanted)) {
            *found = i;
            return true;
        }
    return no_such_device(all, n, wanted, e);
}

bool vk_choose(const struct vk_physical *all, uint32_t n, const struct vk_params *params,
               uint32_t *found, struct err *e)
{
    if (n == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: no device: the driver is missing or may not use it (is the user "
                       "in the groups video and render?)");
    if (params->device)
        return find_named(all, n, params->device, found, e);
    *found = n;
    for (uint32_t i = 0; i < n; i++)
        if (!(params->not_devices >> i & 1) &&
            (*found == n || is_better(&all[i], &all[*found], params->allow_software)))
            *found = i;
    if (*found == n)
        return err_set(e, ERR_UNSUPPORTED, "Vulkan: there is no other device");
    if (all[*found].caps.is_software && !params->allow_software)
        return err_set(e, ERR_UNSUPPORTED,
                       "Vulkan: the only device is %s, which is software and slower than the cpu "
                       "backend: name it with --device to use it all the same",
                       all[*found].caps.name);
    return true;
}

static struct device describe(const struct vk *vk, const struct vk_physical *p)
{
    const struct vk_caps *c = &p->caps;
    struct vk_features features;
    struct err e;
    struct device d = {
        .memory_bytes = c->heap_bytes,
        .free_bytes = c->free_bytes,
        .is_unified = c->is_unified,
        .is_software = c->is_software,
        .has_dot = c->has_dot,
        .has_matrix = c->matrix_m != 0,
    };
    memcpy(d.name, c->name, sizeof d.name);
    memcpy(d.driver, c->driver, sizeof d.driver);
    if (!vk_features_choose(vk, p, &features, &e))
        snprintf(d.why_not, sizeof d.why_not, "%.500s", e.msg);
    return d;
}

static struct device *describe_all(const struct vk *vk, size_t *n, struct err *e)
{
    struct vk_params next = {0};
    uint32_t n_found, chosen;
    struct err none;
    struct vk_physical *all = vk_instance_devices(vk, &n_found, e);
    if (!all)
        return NULL;
    struct device *list = mem_new(n_found + 1, sizeof *list);
    for (uint32_t i = 0; i < n_found; i++)
        list[i] = describe(vk, &all[i]);
    for (uint32_t rank = 1; vk_choose(all, n_found, &next, &chosen, &none); rank++) {
        list[chosen].rank = rank;
        next.not_devices |= 1ull << chosen;
    }
    free(all);
    *n = n_found;
    return list;
}

struct device *devices_list(const char *loader, size_t *n, struct err *e)
{
    struct vk *vk = mem_new(1, sizeof *vk);
    struct device *list = NULL;
    if (vk_instance_open(vk, &(struct vk_params){.loader = loader}, e))
        list = describe_all(vk, n, e);
    vk_instance_close(vk);
    free(vk);
    return list;
}
