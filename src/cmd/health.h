/* health: what a server says on /health, as llama-server and tawny do. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct health {
    bool loading;         /* it has no model yet, but total bytes (0: not told), of which done */
    uint64_t done, total; /* docs/http-api.md, While the model loads */
};
/* status and body of the answer; whatever is no such answer is not loading. */
struct health health_of(int status, str body);
