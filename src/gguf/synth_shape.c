/* Shapes and keys come from the real files (spec "models", tensor lists beside it). */
#include <string.h>

#include "gguf/synth_int.h"

/* The tiny ones are for trying things out: all parts of an architecture in a few megabytes. */
static const struct synth_shape shapes[] = {
    {"qwen3-coder-30b", QWEN3MOE, BLOCK_IQ4_NL, 48, 2048, 32, 4, 128, 128, 8, 768, 5472, 151936,
     262144, 1e-6f, 1e7f, 0, false},
    {"qwen3-30b-2507", QWEN3MOE, BLOCK_IQ4_NL, 48, 2048, 32, 4, 128, 128, 8, 768, 6144, 151936,
     262144, 1e-6f, 1e7f, 0, false},
    {"gpt-oss-20b", GPT_OSS, BLOCK_MXFP4, 24, 2880, 64, 8, 64, 32, 4, 2880, 2880, 201088, 131072,
     1e-5f, 1.5e5f, 0, false},
    {"gpt-oss-120b", GPT_OSS, BLOCK_MXFP4, 36, 2880, 64, 8, 64, 128, 4, 2880, 2880, 201088, 131072,
     1e-5f, 1.5e5f, 0, false},
    {"qwen3-next-80b", QWEN3NEXT, BLOCK_IQ4_NL, 48, 2048, 16, 2, 256, 512, 10, 512, 5120, 151936,
     262144, 1e-6f, 1e7f, 0, false},
    {"qwen3.6-35b-a3b", QWEN35MOE, BLOCK_IQ4_NL, 40, 2048, 16, 2, 256, 256, 8, 512, 0, 248320,
     262144, 1e-6f, 1e7f, 0, false},
    {"qwen3.6-35b-a3b-mtp", QWEN35MOE, BLOCK_Q8_0, 40, 2048, 16, 2, 256, 256, 8, 512, 0, 248320,
     262144, 1e-6f, 1e7f, 1, false},
    {"glm-4.7-flash", DEEPSEEK2, BLOCK_IQ4_NL, 47, 2048, 20, 1, 256, 64, 4, 1536, 10240, 154880,
     202752, 1e-5f, 1e6f, 0, false},
    {"qwen3-0.6b", QWEN3, BLOCK_Q8_0, 28, 1024, 16, 8, 128, 0, 0, 0, 3072, 151936, 40960, 1e-6f,
     1e6f, 0, true},
    {"qwen3-8b", QWEN3, BLOCK_Q4_K, 36, 4096, 32, 8, 128, 0, 0, 0, 12288, 151936, 40960, 1e-6f,
     1e6f, 0, false},
    {"qwen2.5-7b", QWEN2, BLOCK_Q4_K, 28, 3584, 28, 4, 128, 0, 0, 0, 18944, 152064, 32768, 1e-6f,
     1e6f, 0, false},
    {"llama-3.2-1b", LLAMA, BLOCK_Q4_K, 16, 2048, 32, 8, 64, 0, 0, 0, 8192, 128256, 131072, 1e-5f,
     5e5f, 0, true},
    {"tiny-qwen3moe", QWEN3MOE, BLOCK_IQ4_NL, 4, 256, 4, 1, 64, 8, 2, 256, 512, 1024, 4096, 1e-6f,
     1e7f, 0, false},
    {"tiny-gpt-oss", GPT_OSS, BLOCK_MXFP4, 4, 288, 8, 1, 64, 8, 2, 288, 288, 1024, 8192, 1e-5f,
     1.5e5f, 0, false},
    {"tiny-qwen3next", QWEN3NEXT, BLOCK_IQ4_NL, 4, 256, 2, 1, 256, 16, 4, 256, 512, 1024, 4096,
     1e-6f, 1e7f, 0, false},
    {"tiny-qwen35moe", QWEN35MOE, BLOCK_IQ4_NL, 4, 256, 2, 1, 256, 16, 4, 256, 0, 1024, 4096, 1e-6f,
     1e7f, 0, false},
    {"tiny-glm", DEEPSEEK2, BLOCK_IQ4_NL, 3, 256, 2, 1, 256, 8, 2, 256, 512, 1024, 4096, 1e-5f,
     1e6f, 0, false},
    {"tiny-qwen3", QWEN3, BLOCK_IQ4_NL, 4, 256, 4, 2, 64, 0, 0, 0, 512, 1024, 4096, 1e-6f, 1e6f, 0,
     true},
    {"tiny-qwen2", QWEN2, BLOCK_IQ4_NL, 4, 256, 4, 2, 64, 0, 0, 0, 512, 1024, 4096, 1e-6f, 1e6f, 0,
     false},
    {"tiny-llama", LLAMA, BLOCK_IQ4_NL, 4, 256, 4, 2, 64, 0, 0, 0, 512, 1024, 4096, 1e-5f, 5e5f, 0,
     true},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const struct synth_shape *synth_shape_of(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (!strcmp(shapes[i].name, name))
            return &shapes[i];
    return NULL;
}

const char *synth_name(size_t i)
{
    return i < N_SHAPES ? shapes[i].name : NULL;
}

bool synth_has_delta_net(const struct synth_shape *m)
{
    return m->arch == QWEN3NEXT || m->arch == QWEN35MOE;
}

uint32_t synth_attention_interval(const struct synth_shape *m)
{
    return m->n_layers < DELTA_INTERVAL ? m->n_layers : DELTA_INTERVAL;
}
