/* Who gives way in the store. */
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "engine/store_int.h"

enum { UNKNOWN_INTERVAL = 16, PATIENCE = 8, LIVE_JOBS = 64 };

/* The job that is expected to miss it; what has been given up is missed last. */
static uint64_t missed_at(const struct use *u, bool held, uint64_t now)
{
    const uint64_t interval = u->interval ? u->interval : UNKNOWN_INTERVAL;
    if (held)
        return UINT64_MAX;
    if (now > u->last + 2 * interval + PATIENCE)
        return UINT64_MAX - 1 - u->last;
    return u->last + interval;
}

/* Ends of conversations as far as they are in memory: with nothing behind them there. */
static bool ends_in_ram(const struct chunk *c)
{
    return c->n_in_ram == 1 && (c->rows.place == PART_IN_RAM || c->state.place == PART_IN_RAM);
}

static bool is_still(const struct part *p)
{
    return p->place == PART_NONE || p->place == PART_FILED;
}

/* Ends of conversations that are in files. */
static bool ends_on_disk(const struct chunk *c)
{
    return !c->children && c->rows.place == PART_FILED && is_still(&c->state);
}

/* The end of the longest conversation, of those that were used lately and are in no session. */
static const struct chunk *longest_live(struct store *s, bool (*ends)(const struct chunk *),
                                        uint64_t now)
{
    const struct chunk *longest = NULL;
    for (struct chunk *c = NULL; (c = store_next(s, c));)
        if (ends(c) && !c->held && now <= c->use.last + LIVE_JOBS &&
            (!longest || c->first + c->n > longest->first + longest->n))
            longest = c;
    return longest;
}

/* What has to give way to the newcomer, of the ends; NULL: nothing. */
static struct chunk *least_missed(struct store *s, bool (*ends)(const struct chunk *),
                                  const struct newcomer *by)
{
    const uint64_t now = by->use.last;
    const struct chunk *longest = longest_live(s, ends, now);
    const bool is_longest = !longest || by->n_all > longest->first + longest->n;
    struct chunk *least = NULL;
    uint64_t last = is_longest ? 0 : missed_at(&by->use, false, now);
    for (struct chunk *c = NULL; (c = store_next(s, c));) {
        if (!ends(c) || c == by->but || (c == longest && !is_longest))
            continue;
        const uint64_t at = missed_at(&c->use, c->held, now);
        if (at <= last)
            continue;
        least = c;
        last = at;
    }
    return least;
}

bool store_disk_room(struct store *s, uint64_t n, const struct newcomer *by)
{
    if (!s->spool || clock_ns() < s->paused_until_ns)
        return false;
    struct disk *d = spool_disk(s->spool);
    for (;;) {
        const bool fits = s->n_disk_bytes + n <= disk_max_bytes(d);
        if (fits && s->n_files < DISK_MAX_FILES)
            return true;
        if (!fits && disk_drop_other(d))
            continue;
        struct chunk *c = n <= disk_max_bytes(d) ? least_missed(s, ends_on_disk, by) : NULL;
        if (!c)
            return false;
        store_drop(s, c);
    }
}

/* Does anybody need its end again as it is? A session that holds it goes on from there. */
static bool is_outgrown(const struct chunk *c)
{
    return c->held && c->n < STORE_TOKENS;
}

void store_write(struct store *s, struct chunk *c)
{
    const struct newcomer by = {c, c->first + c->n, c->use};
    for (int kind = DISK_ROWS; kind <= DISK_STATE; kind++) {
        const struct part *p = store_part(c, (enum disk_kind)kind);
        if (p->place == PART_IN_RAM && store_disk_room(s, disk_file_bytes(p->n), &by))
            store_send(s, c, (enum disk_kind)kind);
    }
}

/* Out of memory: to the disk where there is room, else away. */
static void send_away(struct store *s, struct chunk *c)
{
    if (!is_outgrown(c))
        store_write(s, c);
    if (c->rows.place == PART_IN_RAM)
        store_drop(s, c);
    else if (c->state.place == PART_IN_RAM)
        store_drop_state(s, c);
}

bool store_room(struct store *s, uint64_t n, const struct newcomer *by)
{
    while (s->n_bytes + n > s->max_bytes) {
        struct chunk *c = n <= s->max_bytes ? least_missed(s, ends_in_ram, by) : NULL;
        if (!c)
            return false;
        send_away(s, c);
    }
    return true;
}
