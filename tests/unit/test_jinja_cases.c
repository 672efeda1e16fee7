/* Jinja: the chat templates of many models, byte for byte as Python's jinja2 renders them. */
#include "base/file.h"
#include "base/mem.h"
#include "kit/json_file.h"
#include "test.h"
#include "text/jinja.h"

enum {
    NOON = 1795435200, /* 2026-11-23 12:00 UTC: the clock of the cases */
    /* At least so many must be there: the data shrinking is not the interpreter passing. */
    MIN_EQUAL = 699,
    MIN_REFUSED = 85,
};

static struct jinja *read_template(const char *name)
{
    char path[300];
    struct buf text = {0};
    struct err e = {0};
    snprintf(path, sizeof path, "spec/data/templates/%s", name);
    CHECK_OK(file_read_all(test_shared(path), 1 << 20, &text, &e));
    struct jinja *t = jinja_parse(buf_view(&text), &e);
    if (!t)
        test_fail(__FILE__, __LINE__, "%s: %s", name, e.msg);
    buf_free(&text);
    return t;
}

/* The members of a and b as one object. */
static struct json *merge(const struct json *a, const struct json *b)
{
    struct buf text = {0};
    struct err e = {0};
    json_print(a, JSON_COMPACT, &text);
    text.n--;
    struct buf more = {0};
    json_print(b, JSON_COMPACT, &more);
    if (json_count(a) && json_count(b))
        buf_byte(&text, ',');
    buf_str(&text, str_sub(buf_view(&more), 1, SIZE_MAX));
    struct json *v = json_parse(buf_view(&text), &e);
    CHECK(v);
    buf_free(&text);
    buf_free(&more);
    return v;
}

struct tally {
    int n_equal;
    int n_refused;
    int n_wrong;
};

/* want: the expected text, or empty when the render must fail. */
static void check_case(const struct json *all, const struct json *c, bool fails, str want,
                       struct tally *tally)
{
    struct arena a = {0};
    struct buf out = {0};
    struct err e = {0};
    struct jinja_params p = {.now_unix = NOON};
    str context = arena_str(&a, json_str(json_get(c, "context")));
    str id = json_str(json_get(c, "id"));
    struct jinja *t = read_template(arena_str(&a, json_str(json_get(c, "template"))).p);
    struct json *vars = merge(json_get(json_get(all, "contexts"), context.p), json_get(c, "vars"));
    bool ok = jinja_render(t, vars, &p, &out, NULL, &e);
    bool by_template = json_bool(json_get(c, "raise_exception"));
    if (fails && !ok && by_template == (e.code == ERR_USAGE)) {
        tally->n_refused++;
    } else if (!fails && ok && str_eq(buf_view(&out), want)) {
        tally->n_equal++;
    } else {
        tally->n_wrong++;
        printf("    %.*s: %s%s\n", STRF(id), fails ? "was rendered, expected a failure: " : "",
               ok ? "" : e.msg);
        if (ok && !fails && tally->n_wrong < 3)
            printf("--- got\n%.*s\n--- want\n%.*s\n", STRF(buf_view(&out)), STRF(want));
    }
    buf_free(&out);
    json_free(vars);
    jinja_close(t);
    arena_free(&a);
}

TEST(jinja_renders_the_templates_of_models)
{
    struct json *all = kit_read_json(test_shared("spec/data/template-cases.json"));
    struct tally tally = {0};
    const struct json *list = json_get(all, "cases");
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *c = json_at(list, i);
        check_case(all, c, false, json_str(json_get(c, "expected")), &tally);
    }
    list = json_get(all, "disagreements");
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *jinja2 = json_get(json_at(list, i), "jinja2");
        check_case(all, json_at(list, i), json_type(jinja2) == JSON_OBJECT, json_str(jinja2),
                   &tally);
    }
    list = json_get(all, "errors");
    for (size_t i = 0; i < json_count(list); i++)
        check_case(all, json_at(list, i), true, STR(""), &tally);
    printf("    %d equal, %d refused as they must be, %d wrong\n", tally.n_equal, tally.n_refused,
           tally.n_wrong);
    CHECK_INT(tally.n_wrong, 0);
    CHECK(tally.n_equal >= MIN_EQUAL && tally.n_refused >= MIN_REFUSED);
    json_free(all);
}
