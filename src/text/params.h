/* params: the parameters of a tool where its schema spreads them over references, allOf, anyOf and
 * oneOf at its top. For formats that write each parameter on its own, in tags: what a parameter may
 * be (the parser), and which may stand together (the grammar). Reads trees, owns nothing. */
#pragma once
#include "base/json.h"

enum {
    PARAMS_MAX_PARTS = 16,  /* schemas that hold at once */
    PARAMS_MAX_SHAPES = 32, /* alternatives; more are left out */
};

/* One way to call: the schemas of objects that all hold. */
struct params_shape {
    const struct json *part[PARAMS_MAX_PARTS];
    size_t n;
};
struct params {
    struct params_shape shapes[PARAMS_MAX_SHAPES];
    size_t n;       /* at least one, if only of the schema itself */
    size_t n_steps; /* of the search for them */
    bool overlaps; /* branches of a oneOf may hold together: then they are alternatives like anyOf's
                    */
    bool elsewhere; /* a reference leads nowhere in the schema */
    bool too_many;  /* parts or alternatives were left out */
};
/* schema: of a tool; NULL: any parameters. */
void params_read(const struct json *schema, struct params *out);
/* The next schema that says something of a parameter, in any shape; NULL: no more. *i starts at 0.
 * A schema of several shapes comes several times. */
bool params_next(const struct params *p, const char *name, size_t *i, const struct json **schema);
