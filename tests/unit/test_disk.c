/* The folder of the disk cache: what is written is found again, and what is not what it says is
 * removed with a line in the log. */
#include "engine/disk.h"

#include "base/file.h"
#include "base/rng.h"
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_BYTES = 3000 };

static const char *make_folder(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/tawny-disk-XXXXXX");
    CHECK(mkdtemp(path));
    return path;
}

static void remove_folder(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK_INT(system(command), 0);
}

struct lines {
    int n;
    char last[1200];
};

static void count_line(void *ctx, enum log_level level, const char *line)
{
    struct lines *l = ctx;
    if (level != LOG_WARN)
        return;
    l->n++;
    snprintf(l->last, sizeof l->last, "%s", line);
}

static struct disk *open_disk(const char *folder, uint64_t fingerprint, uint64_t max,
                              struct lines *lines)
{
    struct err e;
    struct disk *d = disk_open(&(struct disk_params){.folder = folder,
                                                     .fingerprint = fingerprint,
                                                     .max_bytes = max,
                                                     .least_free = 1,
                                                     .log = {lines ? count_line : NULL, lines}},
                               &e);
    CHECK_OK(d);
    return d;
}

static struct disk_head head_of(uint64_t id)
{
    return (struct disk_head){
        .id = id, .n_bytes = N_BYTES, .kind = DISK_ROWS, .n = 3, .ids = {5, 6, 7}};
}

static void put(struct disk *d, uint64_t id)
{
    struct err e;
    struct rng r = {id};
    uint8_t bytes[N_BYTES];
    for (int i = 0; i < N_BYTES; i++)
        bytes[i] = (uint8_t)rng_u64(&r);
    const struct disk_head h = head_of(id);
    CHECK_OK(disk_write(d, &h, bytes, &e));
}

static bool get(struct disk *d, uint64_t id, struct err *e)
{
    struct rng r = {id};
    uint8_t bytes[N_BYTES];
    const struct disk_head h = head_of(id);
    if (!disk_read(d, &h, bytes, e))
        return false;
    for (int i = 0; i < N_BYTES; i++)
        CHECK_INT(bytes[i], (uint8_t)rng_u64(&r));
    return true;
}

static size_t count_files(struct disk *d)
{
    size_t n;
    free(disk_list(d, &n));
    return n;
}

/* Entries of the folder, whatever they are. */
static int count_names(struct disk *d)
{
    int n = -3; /* ".", ".." and the lock */
    DIR *dir = opendir(disk_folder(d));
    CHECK(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

TEST(disk_finds_again_what_was_written)
{
    const char *folder = make_folder();
    struct err e = {0};
    struct stat st;
    char name[256];
    struct disk *d = open_disk(folder, 1, 1 << 20, NULL);
    for (uint64_t id = 1; id <= 3; id++)
        put(d, id);
    disk_remove(d, 2, DISK_ROWS);
    CHECK_INT(stat(disk_folder(d), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0700);
    snprintf(name, sizeof name, "%s/%016x.rows", disk_folder(d), 3);
    CHECK_INT(stat(name, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT(st.st_size, disk_file_bytes(N_BYTES));
    disk_close(d);

    d = open_disk(folder, 1, 1 << 20, NULL);
    size_t n;
    struct disk_entry *all = disk_list(d, &n);
    CHECK_INT(n, 2);
    for (size_t i = 0; i < n; i++) {
        CHECK(all[i].head.id == 1 || all[i].head.id == 3);
        CHECK_INT(all[i].head.n, 3);
        CHECK_INT(all[i].head.ids[2], 7);
        CHECK_OK(get(d, all[i].head.id, &e));
    }
    CHECK(!get(d, 2, &e));
    free(all);
    disk_close(d);
    remove_folder(folder);
}

static void overwrite(const char *path, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "r+b");
    CHECK(f);
    CHECK_INT(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    CHECK_INT(fwrite(bytes, 1, n, f), n);
    CHECK_INT(fclose(f), 0);
}

enum damage {
    CUT,
    CUT_HEAD,
    EMPTY,
    LONGER,
    FLIPPED,
    HUGE_SIZE,
    RENAMED,
    LINK,
    PIPE,
    TEMP,
    N_DAMAGE
};

static void damage(const char *path, enum damage how)
{
    char other[300];
    const uint64_t huge = UINT64_MAX - 100;
    struct rng r = {test_seed()};
    const uint8_t flip = 0xA5;
    snprintf(other, sizeof other, "%.*s%016x.rows", (int)(strrchr(path, '/') - path + 1), path, 77);
    switch (how) {
    case CUT: CHECK_INT(truncate(path, (off_t)disk_file_bytes(N_BYTES) - 1), 0); break;
    case CUT_HEAD: CHECK_INT(truncate(path, 100), 0); break;
    case EMPTY: CHECK_INT(truncate(path, 0), 0); break;
    case LONGER: CHECK_INT(truncate(path, (off_t)disk_file_bytes(N_BYTES) + 1), 0); break;
    case FLIPPED: overwrite(path, (long)rng_below(&r, disk_file_bytes(0)), &flip, 1); break;
    case HUGE_SIZE: overwrite(path, 24 + 16, &huge, sizeof huge); break;
    case RENAMED: CHECK_INT(rename(path, other), 0); break;
    case LINK: CHECK_INT(rename(path, "/tmp/tawny-disk-link"), 0); break;
    case PIPE: CHECK_INT(unlink(path) | mkfifo(path, 0600), 0); break;
    case TEMP: snprintf(other, sizeof other, "%s.tmp-1", path); CHECK_INT(rename(path, other), 0);
    case N_DAMAGE: break;
    }
    if (how == LINK)
        CHECK_INT(symlink("/tmp/tawny-disk-link", path), 0);
}

TEST(disk_removes_what_is_not_what_it_says)
{
    for (int how = 0; how < N_DAMAGE; how++) {
        const char *folder = make_folder();
        struct lines lines = {0};
        char path[256];
        struct disk *d = open_disk(folder, 1, 1 << 20, &lines);
        put(d, 1);
        put(d, 2);
        snprintf(path, sizeof path, "%s/%016x.rows", disk_folder(d), 2);
        damage(path, (enum damage)how);
        CHECK_INT(count_files(d), 1);
        CHECK_INT(lines.n, 1);
        CHECK(strstr(lines.last, "it is removed"));
        CHECK_INT(count_names(d), 1);
        disk_close(d);
        remove_folder(folder);
        unlink("/tmp/tawny-disk-link");
    }
}

/* Another model's file under a right name, and bytes that were changed behind a sound head. */
TEST(disk_believes_sums_alone)
{
    const char *folder = make_folder();
    struct err e;
    struct lines lines = {0};
    char from[256], to[256];
    struct disk *d = open_disk(folder, 1, 1 << 20, &lines),
                *other = open_disk(folder, 2, 1 << 20, NULL);
    put(other, 9);
    put(d, 1);
    snprintf(from, sizeof from, "%s/%016x.rows", disk_folder(other), 9);
    snprintf(to, sizeof to, "%s/%016x.rows", disk_folder(d), 9);
    CHECK_INT(rename(from, to), 0);
    CHECK_INT(count_files(d), 1);
    CHECK_INT(lines.n, 1);
    snprintf(to, sizeof to, "%s/%016x.rows", disk_folder(d), 1);
    overwrite(to, -1000, "xyz", 3);
    CHECK_INT(count_files(d), 1);
    CHECK(!get(d, 1, &e));
    CHECK(strstr(e.msg, "checksum"));
    disk_close(d);
    disk_close(other);
    remove_folder(folder);
}

TEST(disk_is_one_servers_at_a_time)
{
    const char *folder = make_folder();
    struct err e;
    const struct disk_params p = {.folder = folder, .fingerprint = 1, .max_bytes = 1 << 20};
    struct disk *d = open_disk(folder, 1, 1 << 20, NULL);
    CHECK(!disk_open(&p, &e));
    CHECK(strstr(e.msg, "another server"));
    disk_close(open_disk(folder, 2, 1 << 20, NULL));
    disk_close(d);
    d = disk_open(&p, &e);
    CHECK_OK(d);
    disk_close(d);
    remove_folder(folder);
}

TEST(disk_refuses_a_folder_that_others_can_write)
{
    const char *folder = make_folder();
    struct err e;
    struct disk *d = open_disk(folder, 1, 1 << 20, NULL);
    CHECK_INT(chmod(disk_folder(d), 0777), 0);
    disk_close(d);
    CHECK(!disk_open(&(struct disk_params){.folder = folder, .fingerprint = 1}, &e));
    CHECK(strstr(e.msg, "other users"));
    remove_folder(folder);
    CHECK(!disk_open(&(struct disk_params){.folder = "/proc/none", .fingerprint = 1}, &e));
    CHECK(strstr(e.msg, "/proc/none"));
}

TEST(disk_lets_other_models_go_first)
{
    const char *folder = make_folder();
    const uint64_t file = disk_file_bytes(N_BYTES);
    struct disk *d = open_disk(folder, 1, 100 * file, NULL);
    put(d, 1);
    put(d, 2);
    disk_close(d);
    struct disk *busy = open_disk(folder, 2, 100 * file, NULL);
    put(busy, 3);
    d = open_disk(folder, 3, 10 * file, NULL);
    CHECK_INT(disk_max_bytes(d), 7 * file);
    CHECK(disk_drop_other(d)); /* of the first model */
    CHECK_INT(disk_max_bytes(d), 9 * file);
    CHECK(!disk_drop_other(d));
    CHECK_INT(disk_max_bytes(d), 9 * file);
    CHECK_INT(count_files(busy), 1);
    disk_close(busy);
    disk_close(d);
    d = open_disk(folder, 1, 100 * file, NULL);
    CHECK_INT(count_files(d), 0);
    disk_close(d);
    remove_folder(folder);
}

TEST(disk_leaves_room_to_others)
{
    const char *folder = make_folder();
    struct err e;
    uint8_t bytes[N_BYTES] = {0};
    const struct disk_head h = head_of(1);
    struct disk *d = disk_open(
        &(struct disk_params){
            .folder = folder, .fingerprint = 1, .max_bytes = 1 << 20, .least_free = UINT64_MAX / 2},
        &e);
    CHECK_OK(d);
    CHECK(!disk_write(d, &h, bytes, &e));
    CHECK(strstr(e.msg, "MiB are free"));
    CHECK_INT(count_names(d), 0);
    disk_close(d);
    remove_folder(folder);
}
