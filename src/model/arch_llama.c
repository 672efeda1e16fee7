/* llama: Llama 2 and 3, Mistral, SmolLM2, TinyLlama, and Mixtral with experts (spec "architectures"
 * 4). Rotates adjacent pairs, whose rows the converter has put side by side; any bias may be there.
 */
#include "model/arch.h"

static void dense(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    const struct hparams *hp = b->hp;
    struct op_glu *glu = layer_glu(b, s, i);
    glu->gate_bias = bind_optional(b, i, "ffn_gate.bias", vector(hp->n_ff));
    glu->up_bias = bind_optional(b, i, "ffn_up.bias", vector(hp->n_ff));
    layer_glu_down(b, s, i)->bias = bind_optional(b, i, "ffn_down.bias", vector(hp->n_embd));
}

static void experts(struct builder *b, const struct layer_slots *s, uint32_t i)
{
    layer_route(b, s, "ffn_norm.weight", i);
    layer_experts_up(b, s, i);
    layer_experts_down(b, s, i);
}

void arch_llama(struct builder *b)
{
    const struct hparams *hp = b->hp;
    const bool sparse = hp->n_expert > 0;
    struct layer_slots s = {0};
    hparams_need_ff(b);
    if (sparse)
        hparams_need_experts(b, hp->n_ff);
    const struct rope *rope = rope_from_keys(b, ROPE_ADJACENT);
    if (b->failed)
        return;
    layer_embed(b, &s);
    layer_attention_slots(b, &s);
    (sparse ? layer_expert_slots : layer_glu_slots)(b, &s);
    for (uint32_t i = 0; i < hp->n_layer; i++) {
        layer_qkv_biases(b, layer_qkv(b, &s, i), OPTIONAL, i);
        layer_attend(b, &s, rope, 0, i);
        layer_attn_output(b, &s, i)->bias =
            bind_optional(b, i, "attn_output.bias", vector(hp->n_embd));
        (sparse ? experts : dense)(b, &s, i);
    }
    layer_head(b, &s);
}
