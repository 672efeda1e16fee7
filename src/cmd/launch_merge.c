#include "base/json.h"
#include "cmd/launch.h"

static void put(const struct json *v, size_t depth, struct buf *out);
static void merge(const struct json *user, const struct json *ours, size_t depth, struct buf *out);

static void begin_line(size_t depth, bool *more, struct buf *out)
{
    buf_str(out, *more ? STR(",\n") : STR("\n"));
    buf_fmt(out, "%*s", (int)(2 * depth), "");
    *more = true;
}

static void end(size_t depth, bool more, char close, struct buf *out)
{
    if (more)
        buf_fmt(out, "\n%*s", (int)(2 * depth), "");
    buf_byte(out, close);
}

/* The member itself, also where it is null. */
static bool find(const struct json *object, str name, struct json **value)
{
    struct json_iter it = {0};
    str key;
    while (json_next(object, &it, &key, value))
        if (str_eq(key, name))
            return true;
    return false;
}

/* Members in the user's order, then what is new. */
static void merge_objects(const struct json *user, const struct json *ours, size_t depth,
                          struct buf *out)
{
    struct json_iter it = {0};
    struct json *mine, *theirs;
    bool more = false;
    str key;
    buf_byte(out, '{');
    while (json_next(user, &it, &key, &theirs)) {
        begin_line(depth + 1, &more, out);
        json_quote(key, out);
        buf_str(out, STR(": "));
        if (find(ours, key, &mine))
            merge(theirs, mine, depth + 1, out);
        else
            put(theirs, depth + 1, out);
    }
    it = (struct json_iter){0};
    while (json_next(ours, &it, &key, &mine)) {
        if (find(user, key, &theirs))
            continue;
        begin_line(depth + 1, &more, out);
        json_quote(key, out);
        buf_str(out, STR(": "));
        put(mine, depth + 1, out);
    }
    end(depth, more, '}', out);
}

static bool has_id(const struct json *array, str id)
{
    for (size_t i = 0; i < json_count(array); i++)
        if (id.n && str_eq(json_str(json_get(json_at(array, i), "id")), id))
            return true;
    return false;
}

static void merge_arrays(const struct json *user, const struct json *ours, size_t depth,
                         struct buf *out)
{
    bool more = false;
    buf_byte(out, '[');
    for (size_t i = 0; i < json_count(user); i++) {
        const struct json *entry = json_at(user, i);
        if (has_id(ours, json_str(json_get(entry, "id"))))
            continue;
        begin_line(depth + 1, &more, out);
        put(entry, depth + 1, out);
    }
    for (size_t i = 0; i < json_count(ours); i++) {
        begin_line(depth + 1, &more, out);
        put(json_at(ours, i), depth + 1, out);
    }
    end(depth, more, ']', out);
}

static void put(const struct json *v, size_t depth, struct buf *out)
{
    if (json_type(v) == JSON_OBJECT)
        merge_objects(v, NULL, depth, out);
    else if (json_type(v) == JSON_ARRAY)
        merge_arrays(v, NULL, depth, out);
    else
        json_print(v, JSON_COMPACT, out);
}

/* Arrays of entries with an "id" are lists of the user's and ours; others are one value. */
static bool is_list(const struct json *v)
{
    return json_type(v) == JSON_ARRAY && json_get(json_at(v, 0), "id");
}

static void merge(const struct json *user, const struct json *ours, size_t depth, struct buf *out)
{
    if (json_type(user) == JSON_OBJECT && json_type(ours) == JSON_OBJECT)
        merge_objects(user, ours, depth, out);
    else if (json_type(user) == JSON_ARRAY && is_list(ours))
        merge_arrays(user, ours, depth, out);
    else
        put(ours, depth, out);
}

bool launch_merge(str user, str ours, struct buf *out, struct err *e)
{
    struct json *mine = json_parse(ours, e);
    struct json *theirs = mine ? json_parse(str_trim(user).n ? user : STR("{}"), e) : NULL;
    bool ok = mine && theirs;
    if (ok && (json_type(mine) != JSON_OBJECT || json_type(theirs) != JSON_OBJECT))
        ok = err_set(e, ERR_FORMAT, "is no JSON object");
    if (ok) {
        merge(theirs, mine, 0, out);
        buf_byte(out, '\n');
    }
    json_free(mine);
    json_free(theirs);
    return ok;
}
