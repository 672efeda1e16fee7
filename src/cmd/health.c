#include "cmd/health.h"

#include "base/json.h"

struct health health_of(int status, str body)
{
    struct health h = {0};
    struct err ignored;
    struct json *v = status == 503 ? json_parse(body, &ignored) : NULL;
    const struct json *error = json_get(v, "error");
    h.loading = str_eq(json_str(json_get(error, "message")), STR("Loading model"));
    h.done = (uint64_t)json_int(json_get(error, "loaded_bytes"));
    h.total = (uint64_t)json_int(json_get(error, "total_bytes"));
    json_free(v);
    return h;
}
