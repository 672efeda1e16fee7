/* What the driver's compiler says about a pipeline (VK_KHR_pipeline_executable_properties). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "compute/vulkan/vk_int.h"

static double number_of(const VkPipelineExecutableStatisticKHR *s)
{
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return s->value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return (double)s->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: return (double)s->value.u64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: return s->value.f64;
    default: return 0;
    }
}

static VkResult read_numbers(struct vk *vk, const VkPipelineExecutableInfoKHR *info,
                             struct vk_report *out)
{
    VkPipelineExecutableStatisticKHR all[VK_MAX_NUMBERS];
    uint32_t n = VK_MAX_NUMBERS;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (VkPipelineExecutableStatisticKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR,
        };
    const VkResult r = vk->api.GetPipelineExecutableStatisticsKHR(vk->device, info, &n, all);
    if (r < VK_SUCCESS)
        return r;
    for (out->n = 0; out->n < n; out->n++) {
        struct vk_number *to = &out->numbers[out->n];
        snprintf(to->name, sizeof to->name, "%.63s", all[out->n].name);
        to->value = number_of(&all[out->n]);
    }
    return VK_SUCCESS;
}

/* The last representation is the nearest to the machine. */
static VkResult read_code(struct vk *vk, const VkPipelineExecutableInfoKHR *info,
                          struct vk_report *out)
{
    VkPipelineExecutableInternalRepresentationKHR all[8];
    const PFN_vkGetPipelineExecutableInternalRepresentationsKHR get =
        vk->api.GetPipelineExecutableInternalRepresentationsKHR;
    uint32_t n = 8;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (VkPipelineExecutableInternalRepresentationKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR,
        };
    VkResult r = get(vk->device, info, &n, all); /* without memory for the texts: their sizes */
    if (r < VK_SUCCESS || n == 0)
        return r;
    for (uint32_t i = 0; i < n; i++)
        all[i].pData = mem_new(all[i].dataSize + 1, 1);
    r = get(vk->device, info, &n, all);
    for (uint32_t i = 0; i + 1 < n; i++)
        free(all[i].pData);
    out->code = all[n - 1].pData;
    return r;
}

bool vk_pipeline_report(struct vk *vk, VkPipeline pipeline, struct vk_report *out, struct err *e)
{
    *out = (struct vk_report){0};
    if (!vk->has_statistics)
        return true;
    const VkPipelineInfoKHR which = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
        .pipeline = pipeline,
    };
    VkPipelineExecutablePropertiesKHR executable = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR,
    };
    const VkPipelineExecutableInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = pipeline,
    };
    uint32_t n = 1; /* compute pipelines are one executable */
    VkResult r = vk->api.GetPipelineExecutablePropertiesKHR(vk->device, &which, &n, &executable);
    if (r >= VK_SUCCESS)
        r = read_numbers(vk, &info, out);
    if (r >= VK_SUCCESS)
        r = read_code(vk, &info, out);
    out->subgroup = executable.subgroupSize;
    return r >= VK_SUCCESS || vk_failed(vk, r, e, "reading a pipeline's statistics");
}
