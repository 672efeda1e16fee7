/* Feeds arbitrary text to the chat parser, at once and in pieces: the events must be the same, and
 * every call that ends must have a JSON object as arguments. The first byte chooses the format and
 * whether there are tools, the second how the text is cut. */
#include "fuzz/fuzz.h"
#include "kit/chat_record.h"

FUZZ_TARGET(chat)
{
    if (n_bytes < 2)
        return;
    enum chat_format f = bytes[0] & 1 ? CHAT_HERMES_JSON : CHAT_QWEN_XML;
    size_t n_tools = bytes[0] & 2 ? CHAT_RECORD_TOOLS : 0;
    struct rng rng = {bytes[1]};
    struct chat_record_cut cuts[] = {{0, NULL}, {1, NULL}, {1 + bytes[1] % 40, &rng}};
    struct chat_record_tools k = chat_record_open_tools();
    struct buf first = {0};
    for (int i = 0; i < 3; i++) {
        str text = {(const char *)bytes + 2, n_bytes - 2};
        struct buf got = chat_record_parse(f, k.tools, n_tools, text, cuts[i]);
        chat_record_promise(i == 0 || str_eq(buf_view(&got), buf_view(&first)));
        if (i == 0)
            first = got;
        else
            buf_free(&got);
    }
    buf_free(&first);
    json_free(k.root);
}
