/* What `serve --record` keeps: every exchange whole, whatever the protocol, and no secrets. */
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "kit/server_kit.h"

enum { MAX_FILES = 16 };

struct folder {
    char path[64];
    char *names[MAX_FILES];
    int n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct folder folder_make(void)
{
    struct folder f = {.path = "/tmp/tawny-record-XXXXXX"};
    CHECK(mkdtemp(f.path));
    return f;
}

static void folder_list(struct folder *f)
{
    DIR *dir = opendir(f->path);
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        CHECK(f->n < MAX_FILES);
        f->names[f->n++] = strdup(entry->d_name);
    }
    closedir(dir);
    qsort(f->names, (size_t)f->n, sizeof f->names[0], by_name);
}

/* The i-th exchange; its text in `text`. */
static struct json *folder_read(const struct folder *f, int i, struct buf *text)
{
    struct buf path = {0};
    struct err e;
    CHECK(i < f->n && str_ends(str_of(f->names[i]), STR(".json")));
    buf_fmt(&path, "%s/%s", f->path, f->names[i]);
    buf_clear(text);
    CHECK_OK(file_read_all(path.p, 1 << 24, text, &e));
    struct stat st;
    CHECK(stat(path.p, &st) == 0 && (st.st_mode & 0777) == 0600);
    struct json *v = json_parse(buf_view(text), &e);
    if (!v)
        test_fail(__FILE__, __LINE__, "%s", e.msg);
    buf_free(&path);
    return v;
}

static void folder_remove(struct folder *f)
{
    for (int i = 0; i < f->n; i++) {
        struct buf path = {0};
        buf_fmt(&path, "%s/%s", f->path, f->names[i]);
        CHECK_INT(unlink(path.p), 0);
        buf_free(&path);
        free(f->names[i]);
    }
    CHECK_INT(rmdir(f->path), 0);
}

static void check_file(const struct folder *f, int i, const char *path, const char *in_response)
{
    struct buf text = {0};
    struct json *v = folder_read(f, i, &text);
    const struct json *usage = json_get(v, "usage");
    CHECK_INT(json_int(json_get(v, "tawny_exchange")), 1);
    CHECK_STR(json_str(json_get(v, "path")), str_of(path));
    CHECK_INT(json_int(json_get(v, "status")), 200);
    CHECK(!json_bool(json_get(v, "aborted")));
    CHECK(json_int(json_get(usage, "completion_tokens")) > 0);
    CHECK(json_int(json_get(usage, "prompt_tokens")) > json_int(json_get(usage, "cached_tokens")));
    CHECK(json_int(json_get(v, "arrived_ms")) > 0 && json_float(json_get(v, "first_ms")) >= 0);
    CHECK(json_float(json_get(v, "end_ms")) >= json_float(json_get(v, "first_ms")));
    CHECK_INT(json_type(json_get(v, "request")), JSON_OBJECT);
    if (str_find(json_str(json_get(v, "response")), str_of(in_response), 0) == SIZE_MAX)
        test_fail(__FILE__, __LINE__, "%s: no %s in what was kept: %s", path, in_response, text.p);
    CHECK(!kit_has(&text, "secret"));
    json_free(v);
    buf_free(&text);
}

TEST(record_keeps_every_protocol_and_no_secrets)
{
    static const struct {
        const char *path, *body, *in_response;
    } cases[] = {
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":3,"
         "\"ignore_eos\":true,\"stream\":true}",
         "data: [DONE]\n\n"},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"max_tokens\":3,"
         "\"ignore_eos\":true}",
         "\"usage\":{"},
        {"/v1/messages",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"max_tokens\":3,"
         "\"stream\":true}",
         "event: message_stop"},
        {"/v1/responses",
         "{\"model\":\"m\",\"input\":\"d\",\"max_output_tokens\":3,\"stream\":true}",
         "event: response."},
        {"/api/chat",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"e\"}],"
         "\"options\":{\"num_predict\":3}}",
         "\"done\":true"},
    };
    const int n = sizeof cases / sizeof *cases;
    struct folder folder = folder_make();
    struct kit_server *s =
        kit_server_open(&(struct kit_server_params){.api_key = "secret", .record = folder.path});
    struct buf in = {0};
    for (int i = 0; i < n; i++) {
        CHECK_INT(kit_fetch(s, "POST", cases[i].path,
                            "Authorization: Bearer secret\r\nx-api-key: secret\r\n"
                            "Cookie: secret\r\nx-session-id: one\r\n",
                            str_of(cases[i].body), &in),
                  200);
        buf_clear(&in);
    }
    kit_server_close(s);
    folder_list(&folder);
    CHECK_INT(folder.n, n);
    for (int i = 0; i < n; i++)
        check_file(&folder, i, cases[i].path, cases[i].in_response);
    struct buf text = {0};
    struct json *v = folder_read(&folder, 0, &text);
    CHECK_STR(json_str(json_get(json_get(v, "headers"), "x-session-id")), STR("one"));
    json_free(v);
    buf_free(&text);
    buf_free(&in);
    folder_remove(&folder);
}

/* What a client got before it hung up is there, and so is a request that was refused, as it came.
 */
TEST(record_keeps_what_was_aborted_or_refused)
{
    struct folder folder = folder_make();
    struct kit_server *s = kit_server_open(&(struct kit_server_params){.record = folder.path});
    struct buf in = {0}, body = {0}, text = {0};
    kit_chat_body(8, "\"ignore_eos\":true,\"stream\":true,", &body);
    int fd = kit_dial(s);
    kit_send_request(fd, "POST", "/v1/chat/completions", "", buf_view(&body));
    CHECK(kit_read_until(fd, "\"delta\":{\"content\":\"", &in));
    close(fd);
    kit_log_wait(s, "the client went away", NULL);
    buf_clear(&in);
    CHECK_INT(kit_fetch(s, "POST", "/v1/messages", "", STR("{\"a\": \"\xff"), &in), 400);
    kit_server_close(s);

    folder_list(&folder);
    CHECK_INT(folder.n, 2);
    struct json *v = folder_read(&folder, 0, &text);
    CHECK(json_bool(json_get(v, "aborted")));
    CHECK(json_int(json_get(json_get(v, "usage"), "completion_tokens")) > 0);
    CHECK(str_find(json_str(json_get(v, "response")), STR("\"delta\":{\"content\":"), 0) !=
          SIZE_MAX);
    json_free(v);
    v = folder_read(&folder, 1, &text);
    CHECK_INT(json_int(json_get(v, "status")), 400);
    CHECK_STR(json_str(json_get(v, "request_text")), STR("{\"a\": \"\xef\xbf\xbd"));
    CHECK(!json_has(v, "request") && !json_has(v, "usage"));
    json_free(v);
    buf_free(&text);
    buf_free(&in);
    buf_free(&body);
    folder_remove(&folder);
}
