/* Feeds arbitrary text to the chat parser, at once and in pieces: the events must be the same, and
 * every call that ends whole must have a JSON object as arguments. The first byte chooses the
 * format, whether there are tools, whether the prompt opened the reasoning and who ended the reply;
 * the second how the text is cut. */
#include "fuzz/fuzz.h"
#include "kit/chat_record.h"

FUZZ_TARGET(chat)
{
    if (n_bytes < 2)
        return;
    struct chat_record_tools k = chat_record_open_tools();
    struct chat_parser_params params = {
        .format = (enum chat_format)((bytes[0] & 7) % CHAT_N_FORMATS),
        .tools = k.tools,
        .n_tools = bytes[0] & 8 ? 0 : CHAT_RECORD_TOOLS,
        .in_reasoning = bytes[0] & 16,
    };
    bool by_model = !(bytes[0] & 32);
    struct rng rng = {bytes[1]};
    struct chat_record_cut cuts[] = {{0, NULL}, {1, NULL}, {1 + bytes[1] % 40, &rng}};
    struct buf first = {0};
    for (int i = 0; i < 3; i++) {
        str text = {(const char *)bytes + 2, n_bytes - 2};
        struct buf got = chat_record_run(&params, text, cuts[i], by_model);
        chat_record_promise(i == 0 || str_eq(buf_view(&got), buf_view(&first)));
        if (i == 0)
            first = got;
        else
            buf_free(&got);
    }
    buf_free(&first);
    json_free(k.root);
}
