/* Which tensor gets which type. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "gguf/recipe.h"
#include "gguf/requant.h"

static const char *const role_names[REQUANT_ROLES] = {
    [REQUANT_EMBED] = "embed",     [REQUANT_HEAD] = "head",     [REQUANT_ATTN] = "attn",
    [REQUANT_EXPERTS] = "experts", [REQUANT_SHARED] = "shared", [REQUANT_FFN] = "ffn",
    [REQUANT_ROUTER] = "router",
};

const char *requant_role_name(enum requant_role role)
{
    return role < REQUANT_ROLES ? role_names[role] : "other";
}

static bool has(str name, const char *part)
{
    return str_find(name, str_of(part), 0) != SIZE_MAX;
}

enum requant_role requant_role_of(const struct gguf_tensor *t, bool tied)
{
    const str name = t->name;
    if (str_ends(name, STR(".ffn_gate_inp.weight")))
        return REQUANT_ROUTER;
    if (!recipe_is_matrix(name, t->ne))
        return REQUANT_ROLES;
    if (str_eq(name, STR("token_embd.weight")))
        return tied ? REQUANT_HEAD : REQUANT_EMBED;
    if (str_eq(name, STR("output.weight")))
        return REQUANT_HEAD;
    if (has(name, "_exps."))
        return REQUANT_EXPERTS;
    if (has(name, "_shexp."))
        return REQUANT_SHARED;
    if (has(name, ".ffn_"))
        return REQUANT_FFN;
    return has(name, ".attn_") || has(name, ".ssm_") ? REQUANT_ATTN : REQUANT_ROLES;
}

/* ---- reading and writing the description ------------------------------------------------------
 */

/* Types that can be written and, with n_row not 0, that rows of so many elements can have. */
static void list_types(uint64_t n_row, struct buf *out)
{
    const size_t from = out->n;
    for (uint32_t id = 0; id < BLOCK_TYPE_LIMIT; id++) {
        const struct block_info *info = block_info(id);
        if (info && info->encode && n_row % info->n_elems == 0)
            buf_fmt(out, "%s%s", out->n > from ? ", " : "", info->name);
    }
}

static bool read_type(str name, enum block_type *out)
{
    return block_type_of(name, out) && block_info((uint32_t)*out)->encode;
}

static bool unknown_type(str name, const char *what, struct err *e)
{
    struct buf list = {0};
    list_types(0, &list);
    err_set(e, ERR_USAGE, "%s'%.*s' is not one of: %s", what, STRF(name), list.p);
    buf_free(&list);
    return false;
}

static bool unknown_role(str name, struct err *e)
{
    struct buf list = {0};
    for (int i = 0; i < REQUANT_ROLES; i++)
        buf_fmt(&list, "%s%s", i ? ", " : "", role_names[i]);
    err_set(e, ERR_USAGE, "role '%.*s' is not one of: %s", STRF(name), list.p);
    buf_free(&list);
    return false;
}

static bool read_role(str name, str type, struct requant *out, struct err *e)
{
    char what[64];
    int role = 0;
    while (role < REQUANT_ROLES && !str_eq(name, str_of(role_names[role])))
        role++;
    if (role == REQUANT_ROLES)
        return unknown_role(name, e);
    if (out->has[role])
        return err_set(e, ERR_USAGE, "role '%s' is there twice", role_names[role]);
    snprintf(what, sizeof what, "type of %s ", role_names[role]);
    out->has[role] = true;
    return read_type(type, &out->type[role]) || unknown_type(type, what, e);
}

bool requant_parse(str text, struct requant *out, struct err *e)
{
    bool first = true;
    *out = (struct requant){0};
    for (str rest = text; rest.n || first; first = false) {
        str type, item = str_cut(rest, ',', &rest), role = str_cut(item, '=', &type);
        if (role.n < item.n) {
            if (!read_role(role, type, out, e))
                return false;
        } else if (!first) {
            return err_set(e, ERR_USAGE, "'%.*s' is no ROLE=TYPE; a type for all comes first",
                           STRF(item));
        } else if (!read_type(item, &out->mix)) {
            return unknown_type(item, "type ", e);
        } else {
            out->has_mix = true;
        }
    }
    return true;
}

bool requant_is_empty(const struct requant *r)
{
    bool any = r->has_mix;
    for (int i = 0; i < REQUANT_ROLES; i++)
        any |= r->has[i];
    return !any;
}

void requant_print(const struct requant *r, struct buf *out)
{
    const size_t from = out->n;
    if (r->has_mix)
        buf_fmt(out, "%s", block_type_name((uint32_t)r->mix));
    for (int i = 0; i < REQUANT_ROLES; i++)
        if (r->has[i])
            buf_fmt(out, "%s%s=%s", out->n > from ? "," : "", role_names[i],
                    block_type_name((uint32_t)r->type[i]));
}

/* ---- the types of a file's tensors ------------------------------------------------------------
 */

/* The largest value of an integer key "ARCH.suffix", scalar or per layer; 0 when absent. */
static int64_t largest_of(const struct gguf *in, const char *suffix)
{
    struct err e;
    str arch = STR("");
    char key[128];
    int64_t largest = 0;
    if (!gguf_str(in, "general.architecture", false, &arch, &e))
        return 0;
    snprintf(key, sizeof key, "%.*s.%s", STRF(arch), suffix);
    const struct gguf_kv *kv = gguf_find(in, str_of(key));
    for (uint64_t i = 0; kv && i < kv->n; i++)
        if (gguf_elem_i64(kv, i) > largest)
            largest = gguf_elem_i64(kv, i);
    return largest;
}

static struct recipe recipe_for(const struct gguf *in, enum block_type mix, bool tied)
{
    const int64_t n_layers = largest_of(in, "block_count");
    const int64_t n_heads = largest_of(in, "attention.head_count");
    const int64_t n_kv_heads = largest_of(in, "attention.head_count_kv");
    return (struct recipe){
        .type = mix,
        .n_layers = (uint32_t)num_min((size_t)n_layers, UINT32_MAX),
        .kv_share = (uint32_t)(n_kv_heads ? n_heads / n_kv_heads : 1),
        .tied = tied,
    };
}

static bool does_not_fit(const struct gguf *in, const struct gguf_tensor *t, enum requant_role role,
                         enum block_type type, struct err *e)
{
    struct buf list = {0};
    list_types(t->ne[0], &list);
    err_set(e, ERR_USAGE,
            "%s: %s=%s: tensor '%.*s' has rows of %llu values, no multiple of %u; possible: %s",
            gguf_path(in), role_names[role], block_type_name((uint32_t)type), STRF(t->name),
            (unsigned long long)t->ne[0], block_info((uint32_t)type)->n_elems, list.p);
    buf_free(&list);
    return false;
}

/* A role that no tensor has is a mistake. */
static bool check_roles(const struct gguf *in, const struct requant *r,
                        const bool seen[REQUANT_ROLES], struct err *e)
{
    struct buf list = {0};
    bool ok = true;
    for (int i = 0; i < REQUANT_ROLES; i++)
        if (seen[i])
            buf_fmt(&list, "%s%s", list.n ? ", " : "", role_names[i]);
    for (int i = 0; i < REQUANT_ROLES && ok; i++)
        if (r->has[i] && !seen[i])
            ok = err_set(e, ERR_USAGE, "%s: %s=%s: the model has no such tensors; it has %s",
                         gguf_path(in), role_names[i], block_type_name((uint32_t)r->type[i]),
                         list.n ? list.p : "none of a known role");
    buf_free(&list);
    return ok;
}

bool requant_types(const struct gguf *in, const struct requant *r, enum block_type *out,
                   struct err *e)
{
    const bool tied = !gguf_tensor(in, STR("output.weight"));
    const struct recipe recipe = recipe_for(in, r->mix, tied);
    bool seen[REQUANT_ROLES + 1] = {0};
    for (size_t i = 0; i < gguf_n_tensors(in); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(in, i);
        const enum requant_role role = requant_role_of(t, tied);
        seen[role] = true;
        out[i] = r->has_mix ? recipe_pick(&recipe, t->name, t->ne) : t->type;
        if (role == REQUANT_ROLES || !r->has[role])
            continue;
        out[i] = r->type[role];
        if (!block_row_bytes(out[i], t->ne[0]))
            return does_not_fit(in, t, role, out[i], e);
    }
    return check_roles(in, r, seen, e);
}
