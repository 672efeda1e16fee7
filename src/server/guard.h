/* guard: who may talk to a server on loopback. A web page that the user visits can reach 127.0.0.1
 * through his browser: under its own name (DNS rebinding, seen in Host) or as a foreign page (seen
 * in Origin). Pure functions on header values. */
#pragma once
#include <stdbool.h>

#include "base/str.h"

/* "localhost" or a literal loopback address, 127.x.y.z or ::1 (brackets allowed). */
bool guard_is_loopback(str host);
/* Host header (any port): a loopback name, or the host the server was told to listen on; absent
 * passes, browsers always send one. */
bool guard_host_ok(str header, str bound_host);
/* Origin header: absent, a page on a loopback address or on bound_host, or no web page at all
 * (editors' own schemes). "null" is what sandboxed foreign pages send: refused. */
bool guard_origin_ok(str header, str bound_host);
/* Origin header: is it one of the origins that were let in? allowed: "http://a:1,https://b", or "*"
 * for any page; empty: none. An absent header is no origin. */
bool guard_cors_ok(str header, str allowed);
/* The key in "Authorization: Bearer KEY" or "x-api-key: KEY" (empty views when absent) is `key`.
 * Takes the same time wherever they differ. */
bool guard_key_ok(str authorization, str x_api_key, str key);
