#include <dirent.h>

#include "base/file.h"
#include "fuzz/fuzz.h"
#include "test.h"

void fuzz_replay(const char *folder, void (*fn)(const uint8_t *bytes, size_t n_bytes))
{
    int n_files = 0;
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct err e;
        struct buf bytes = {0};
        char path[512];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        CHECK_OK(file_read_all(path, 1 << 20, &bytes, &e));
        /* A block of just this size lets the sanitizers see a read past the end. */
        uint8_t *exact = malloc(bytes.n ? bytes.n : 1);
        if (bytes.n)
            memcpy(exact, bytes.p, bytes.n);
        fn(exact, bytes.n);
        free(exact);
        buf_free(&bytes);
        n_files++;
    }
    if (d)
        closedir(d);
    if (n_files == 0)
        test_fail(__FILE__, __LINE__, "%s: no seeds", folder);
}
