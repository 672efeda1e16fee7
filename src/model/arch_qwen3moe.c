/* qwen3moe: Qwen3-30B-A3B, Qwen3-Coder-30B-A3B, Qwen3-235B-A22B (spec "architectures" 2).
 * Grouped-query attention with normalised heads, then k of E experts, both pre-normed. */
#include "model/arch.h"

void arch_qwen3moe(struct builder *b)
{
    const struct hparams *hp = b->hp;
    struct layer_slots s = {0};
    hparams_need_experts(b, hp->n_expert_used ? hp->n_ff / hp->n_expert_used : 0);
    if (b->failed)
        return;
    const struct rope *rope = rope_from_keys(b, ROPE_HALVES);
    layer_embed(b, &s);
    layer_attention_slots(b, &s);
    layer_expert_slots(b, &s);
    for (uint32_t i = 0; i < hp->n_layer; i++) {
        layer_qkv(b, &s, i);
        layer_head_norms(b, layer_attend(b, &s, rope, 0, i), i);
        layer_attn_output(b, &s, i);
        layer_route(b, &s, "ffn_norm.weight", i);
        layer_experts_up(b, &s, i);
        layer_experts_down(b, &s, i);
    }
    layer_head(b, &s);
}
