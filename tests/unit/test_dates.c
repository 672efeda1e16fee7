/* The date that a conversation's prompts show. */
#include "server/dates.h"
#include "test.h"

TEST(dates_a_conversation_keeps_the_date_it_began_with)
{
    struct dates *d = dates_open();
    struct chat_message list[] = {{.role = CHAT_SYSTEM, .content = STR("S")},
                                  {.role = CHAT_USER, .content = STR("U")},
                                  {.role = CHAT_ASSISTANT, .content = STR("A")},
                                  {.role = CHAT_USER, .content = STR("more")}};
    const int64_t noon = 1795435200, hour = 3600;
    struct chat_request first = {.messages = list, .n_messages = 2};
    struct chat_request later = {.messages = list, .n_messages = 4};
    CHECK_INT(dates_of(d, &first, noon), noon);
    CHECK_INT(dates_of(d, &later, noon + 11 * hour), noon);
    CHECK_INT(dates_of(d, &later, noon + 22 * hour), noon);
    CHECK_INT(dates_of(d, &first, noon + 35 * hour), noon + 35 * hour); /* a new one by now */
    list[1].content = STR("other");
    CHECK_INT(dates_of(d, &first, noon + 36 * hour), noon + 36 * hour);
    dates_close(d);
}

TEST(dates_forgets_the_conversation_heard_of_longest_ago)
{
    struct dates *d = dates_open();
    char text[2000];
    struct chat_message m = {.role = CHAT_USER};
    const struct chat_request r = {.messages = &m, .n_messages = 1};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 1500; i++) {
        m.content = (str){text, i + 1};
        CHECK_INT(dates_of(d, &r, 1000 + (int64_t)i), 1000 + (int64_t)i);
    }
    m.content = (str){text, 1500};
    CHECK_INT(dates_of(d, &r, 3000), 2499);
    m.content = (str){text, 1};
    CHECK_INT(dates_of(d, &r, 3000), 3000);
    dates_close(d);
}
