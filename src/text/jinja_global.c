/* jinja: the functions that every template sees. */
#include <string.h>
#include <time.h>

#include "text/jinja_int.h"

static bool make_dict(struct jinja_call *c, enum jinja_kind kind, struct jinja_value *out)
{
    struct jinja_dict *d = jinja_dict_new(c->run);
    size_t n_places = c->all.n - c->all.n_named;
    if (n_places > 1 || (n_places == 1 && c->all.at[0].kind != JINJA_DICT))
        return jinja_fail(c->run, "namespace and dict take one dict and named values");
    for (size_t i = 0; n_places == 1 && i < c->all.at[0].dict->n; i++) {
        const struct jinja_entry *e = &c->all.at[0].dict->entries[i];
        if (!jinja_dict_put(c->run, d, e->key, e->value))
            return false;
    }
    for (size_t i = 0; i < c->all.n_named; i++) {
        if (!jinja_dict_put(c->run, d, jinja_text(c->all.names[i]), c->all.at[n_places + i]))
            return false;
    }
    *out = (struct jinja_value){.kind = kind, .dict = d};
    return true;
}

static bool run_namespace(struct jinja_call *c, struct jinja_value *out)
{
    return make_dict(c, JINJA_NAMESPACE, out);
}

static bool run_dict(struct jinja_call *c, struct jinja_value *out)
{
    return make_dict(c, JINJA_DICT, out);
}

static bool run_raise(struct jinja_call *c, struct jinja_value *out)
{
    if (!jinja_to_str(c->run, &c->arg[0], out))
        return false;
    size_t n = out->n < 900 ? out->n : 900;
    return err_set(c->run->e, ERR_USAGE, "the model's chat template refuses: %.*s", (int)n, out->p);
}

static bool run_range(struct jinja_call *c, struct jinja_value *out)
{
    int64_t from = 0, to, step;
    if (!jinja_arg_int(c, 0, 0, &to) || !jinja_arg_int(c, 2, 1, &step))
        return false;
    if (c->arg[1].kind != JINJA_ABSENT) {
        from = to;
        if (!jinja_arg_int(c, 1, 0, &to))
            return false;
    }
    if (step == 0)
        return jinja_fail(c->run, "the step of a range is 0");
    size_t n = 0;
    int64_t i = from;
    while (n <= JINJA_MAX_RANGE && (step > 0 ? i < to : i > to)) {
        n++;
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    if (n > JINJA_MAX_RANGE)
        return jinja_fail_limit(c->run, "a range of more than %d numbers", JINJA_MAX_RANGE);
    struct jinja_value *items = jinja_room(c->run, n, sizeof *items);
    if (!items)
        return false;
    for (size_t k = 0; k < n; k++)
        items[k] = jinja_int(from + (int64_t)k * step);
    *out = jinja_list(JINJA_LIST, items, n);
    return jinja_work(c->run, n / 16);
}

/* ---- strftime_now ---- */

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

/* One conversion, in the C locale; false when it is unknown. plain: without padding ("%-d"). */
static bool put_time(struct buf *out, char conversion, bool plain, const struct tm *t)
{
    int width = plain ? 1 : 2;
    int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (conversion) {
    case 'Y': buf_fmt(out, "%d", t->tm_year + 1900); break;
    case 'y': buf_fmt(out, "%0*d", width, (t->tm_year + 1900) % 100); break;
    case 'm': buf_fmt(out, "%0*d", width, t->tm_mon + 1); break;
    case 'd': buf_fmt(out, "%0*d", width, t->tm_mday); break;
    case 'e': buf_fmt(out, "%*d", width, t->tm_mday); break;
    case 'H': buf_fmt(out, "%0*d", width, t->tm_hour); break;
    case 'I': buf_fmt(out, "%0*d", width, hour12); break;
    case 'M': buf_fmt(out, "%0*d", width, t->tm_min); break;
    case 'S': buf_fmt(out, "%0*d", width, t->tm_sec); break;
    case 'j': buf_fmt(out, "%0*d", plain ? 1 : 3, t->tm_yday + 1); break;
    case 'B': buf_str(out, str_of(months[t->tm_mon])); break;
    case 'b':
    case 'h': buf_fmt(out, "%.3s", months[t->tm_mon]); break;
    case 'A': buf_str(out, str_of(days[t->tm_wday])); break;
    case 'a': buf_fmt(out, "%.3s", days[t->tm_wday]); break;
    case 'w': buf_fmt(out, "%d", t->tm_wday); break;
    case 'p': buf_str(out, t->tm_hour < 12 ? STR("AM") : STR("PM")); break;
    case 'F': buf_fmt(out, "%d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday); break;
    case 'T': buf_fmt(out, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec); break;
    case '%': buf_byte(out, '%'); break;
    default: return false;
    }
    return true;
}

static bool run_strftime(struct jinja_call *c, struct jinja_value *out)
{
    struct jinja_run *r = c->run;
    struct tm now = {0};
    time_t seconds = (time_t)r->params->now_unix;
    size_t begin = jinja_begin(r);
    if (!jinja_arg_str(c, 0, "strftime_now's format"))
        return false;
    if (!localtime_r(&seconds, &now))
        return jinja_fail(r, "strftime_now: the clock is out of range");
    str f = jinja_str(&c->arg[0]);
    for (size_t i = 0; i < f.n; i++) {
        if (f.p[i] != '%') {
            buf_byte(&r->out, f.p[i]);
            continue;
        }
        bool plain = i + 1 < f.n && f.p[i + 1] == '-';
        i += 1 + plain;
        if (i >= f.n || !put_time(&r->out, f.p[i], plain, &now))
            return jinja_fail(r, "strftime_now does not know '%%%c'", i < f.n ? f.p[i] : ' ');
    }
    jinja_mark(r, 0);
    return jinja_take(r, begin, out);
}

const struct jinja_builtin *jinja_find_global(str name)
{
    static const struct jinja_builtin table[] = {
        {"namespace", NULL, 0, run_namespace},        {"dict", NULL, 0, run_dict},
        {"raise_exception", "message", 1, run_raise}, {"range", "start stop step", 1, run_range},
        {"strftime_now", "format", 1, run_strftime},  {0},
    };
    return jinja_lookup(table, name);
}
