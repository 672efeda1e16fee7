/* What ran when on a GPU, as Chrome's trace viewer and Perfetto read it: the Trace Event Format of
 * Google's catapult project, complete events ("X"), times in microseconds. */
#include "base/file.h"
#include "base/json.h"
#include "cmd/bench.h"

void bench_trace(const struct exec *x, const char *backend, uint32_t number, struct buf *out)
{
    size_t n;
    const struct exec_event *all = exec_events(x, &n);
    if (n == 0)
        return;
    buf_fmt(out, "%s{\"ph\":\"M\",\"pid\":%u,\"name\":\"process_name\",\"args\":{\"name\":",
            out->n ? ",\n" : "", number);
    json_quote(str_of(backend), out);
    buf_str(out, STR("}}"));
    for (const struct exec_event *v = all; v < all + n; v++) {
        buf_fmt(out,
                ",\n{\"ph\":\"X\",\"pid\":%u,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f,\"name\":", number,
                v->begin_us - all->begin_us, v->us);
        if (v->what)
            buf_fmt(out, "\"%s\",\"args\":{\"layer\":%u}}", v->what, v->layer);
        else
            buf_fmt(out, "\"%u row%s\"}", v->n_rows, v->n_rows == 1 ? "" : "s");
    }
}

bool bench_trace_write(const char *path, const struct buf *events, struct err *e)
{
    struct file_out f = {0};
    struct buf text = {0};
    buf_fmt(&text, "{\"traceEvents\":[\n%.*s\n]}\n", STRF(buf_view(events)));
    const bool ok =
        file_create(&f, path, e) && file_write_at(&f, 0, text.p, text.n, e) && file_commit(&f, e);
    file_abandon(&f);
    buf_free(&text);
    return ok;
}
