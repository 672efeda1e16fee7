/* HTTP on a unix socket. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "kit/server_kit.h"
#include "server/http.h"

static void admit(void *ctx, struct http_request *r)
{
    (void)ctx;
    (void)r;
}

static void handle(void *ctx, struct http_request *r)
{
    (void)ctx;
    http_send(r, 200, "text/plain", STR("owl\n"));
}

static struct http *open_at(const char *path, struct err *e)
{
    return http_open(&(struct http_params){.socket = path, .admit = admit, .handle = handle}, e);
}

static int dial(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

TEST(http_socket_is_the_users_alone_and_goes_with_the_server)
{
    char path[64];
    struct stat st;
    struct err e;
    struct buf in = {0};
    snprintf(path, sizeof path, "/tmp/tawny-test-%d", (int)getpid());
    struct http *h = open_at(path, &e);
    CHECK_OK(h);
    CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    CHECK_INT(http_port(h), 0);
    int fd = dial(path);
    kit_send(fd, STR("GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"));
    kit_read_all(fd, &in);
    close(fd);
    CHECK_INT(kit_status(&in), 200);
    CHECK(!open_at(path, &e) && strstr(e.msg, path)); /* somebody answers there */
    http_close(h);
    CHECK(stat(path, &st) != 0);
    buf_free(&in);
}

TEST(http_socket_replaces_what_a_dead_server_left_and_no_other_file)
{
    char path[64];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat st;
    struct err e;
    snprintf(path, sizeof path, "/tmp/tawny-test-%d", (int)getpid());
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    close(fd); /* the file stays */
    struct http *h = open_at(path, &e);
    CHECK_OK(h);
    http_close(h);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CHECK(!open_at(path, &e));
    CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode));
    unlink(path);
    char far[200];
    memset(far, 'a', sizeof far - 1);
    far[sizeof far - 1] = 0;
    CHECK(!open_at(far, &e) && e.code == ERR_USAGE);
}
