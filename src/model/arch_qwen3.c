/* qwen3: the dense Qwen3, 0.6B to 32B (spec "architectures" 3). As qwen3moe with a dense
 * feed-forward. */
#include "model/arch.h"

void arch_qwen3(struct builder *b)
{
    struct layer_slots s = {0};
    hparams_need_ff(b);
    const struct rope *rope = rope_from_keys(b, ROPE_HALVES);
    if (b->failed)
        return;
    layer_embed(b, &s);
    layer_attention_slots(b, &s);
    layer_glu_slots(b, &s);
    for (uint32_t i = 0; i < b->hp->n_layer; i++) {
        layer_qkv(b, &s, i);
        layer_head_norms(b, layer_attend(b, &s, rope, 0, i), i);
        layer_attn_output(b, &s, i);
        layer_glu(b, &s, i);
        layer_glu_down(b, &s, i);
    }
    layer_head(b, &s);
}
