/* json_file: reference data that is JSON. */
#pragma once
#include "base/json.h"

/* The value in the file; the test fails with the reason when it cannot be read. Freed by the
 * caller. */
struct json *kit_read_json(const char *path);
