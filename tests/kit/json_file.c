#include "kit/json_file.h"

#include "base/file.h"
#include "test.h"

struct json *kit_read_json(const char *path)
{
    struct buf text = {0};
    struct err e = {0};
    CHECK_OK(file_read_all(path, 64 << 20, &text, &e));
    struct json *v = json_parse(buf_view(&text), &e);
    if (!v)
        test_fail(__FILE__, __LINE__, "%s: %s", path, e.msg);
    buf_free(&text);
    return v;
}
