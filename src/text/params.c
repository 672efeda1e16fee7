#include "text/params.h"

#include "text/schema.h"

enum { MAX_STEPS = 512 };

/* Adds a schema to a shape, once. False: with it no object is allowed. */
static bool add_part(struct params *p, struct params_shape *s, const struct json *schema)
{
    const struct json *type = json_get(schema, "type");
    bool is_object = !type || str_eq(json_str(type), STR("object"));
    for (size_t i = 0; json_type(type) == JSON_ARRAY && i < json_count(type); i++)
        is_object = is_object || str_eq(json_str(json_at(type, i)), STR("object"));
    for (size_t i = 0; i < s->n; i++)
        if (s->part[i] == schema)
            return true;
    if (s->n == PARAMS_MAX_PARTS)
        p->too_many = true;
    else if (json_type(schema) == JSON_OBJECT)
        s->part[s->n++] = schema;
    return is_object && !schema_is_false(schema);
}

/* Adds what references and allOf bring in. */
static bool expand(struct params *p, const struct json *root, struct params_shape *s)
{
    bool ok = true;
    for (size_t i = 0; i < s->n; i++) {
        const struct json *all = json_get(s->part[i], "allOf");
        if (json_has(s->part[i], "$ref")) {
            const struct json *to = schema_resolve(root, json_str(json_get(s->part[i], "$ref")));
            p->elsewhere = p->elsewhere || !to;
            ok = (!to || add_part(p, s, to)) && ok;
        }
        for (size_t k = 0; json_type(all) == JSON_ARRAY && k < json_count(all); k++)
            ok = add_part(p, s, json_at(all, k)) && ok;
    }
    return ok;
}

/* Unions before number `from` are decided: 2 of each part, anyOf and oneOf. */
static void split(struct params *p, const struct json *root, struct params_shape s, size_t from)
{
    static const char *const unions[] = {"anyOf", "oneOf"};
    if (!expand(p, root, &s))
        return;
    if (p->n == PARAMS_MAX_SHAPES || ++p->n_steps > MAX_STEPS) {
        p->too_many = true;
        return;
    }
    for (size_t u = from; u < 2 * s.n; u++) {
        const struct json *branches = json_get(s.part[u / 2], unions[u % 2]);
        size_t n = json_type(branches) == JSON_ARRAY ? json_count(branches) : 0;
        if (u % 2 && n && (n > PARAMS_MAX_SHAPES || !schema_branches_are_apart(root, branches)))
            p->overlaps = true;
        for (size_t k = 0; k < n && p->n_steps <= MAX_STEPS; k++) {
            struct params_shape with = s;
            if (add_part(p, &with, json_at(branches, k)))
                split(p, root, with, u + 1);
        }
        if (n)
            return;
    }
    p->shapes[p->n++] = s;
}

void params_read(const struct json *schema, struct params *out)
{
    struct params_shape own = {.n = 0};
    *out = (struct params){.n = 0};
    if (add_part(out, &own, schema))
        split(out, schema, own, 0);
    if (out->n == 0) /* no object is valid: what it names, at least */
        out->shapes[out->n++] = own;
}

bool params_next(const struct params *p, const char *name, size_t *i, const struct json **schema)
{
    for (; *i < p->n * PARAMS_MAX_PARTS; (*i)++) {
        const struct params_shape *s = &p->shapes[*i / PARAMS_MAX_PARTS];
        size_t k = *i % PARAMS_MAX_PARTS;
        const struct json *named = k < s->n ? json_get(s->part[k], "properties") : NULL;
        if (!json_has(named, name))
            continue;
        *schema = json_get(named, name);
        (*i)++;
        return true;
    }
    return false;
}
