#include "server/guard.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static bool same_name(str a, str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool guard_is_loopback(str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (same_name(host, STR("localhost")))
        return true;
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_sub(host, 1, host.n - 1);
    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* "name:port", "[v6]:port" or either without a port. */
static str without_port(str authority)
{
    str rest;
    if (authority.n && authority.p[0] == '[') {
        size_t end = str_find(authority, STR("]"), 0);
        return end == SIZE_MAX ? authority : str_sub(authority, 0, end + 1);
    }
    return str_cut(authority, ':', &rest);
}

static bool known_name(str name, str bound_host)
{
    if (name.n > 2 && name.p[0] == '[' && same_name(str_sub(name, 1, name.n - 1), bound_host))
        return true;
    return guard_is_loopback(name) || same_name(name, bound_host);
}

bool guard_host_ok(str header, str bound_host)
{
    str host = str_trim(header);
    return host.n == 0 || known_name(without_port(host), bound_host);
}

bool guard_origin_ok(str header, str bound_host)
{
    static const str web[] = {STR("http://"), STR("https://")};
    str origin = str_trim(header);
    for (size_t i = 0; i < 2; i++)
        if (same_name(str_sub(origin, 0, web[i].n), web[i]))
            return known_name(without_port(str_sub(origin, web[i].n, origin.n)), bound_host);
    return !str_eq(origin, STR("null"));
}

bool guard_cors_ok(str header, str allowed)
{
    str origin = str_trim(header);
    while (origin.n && allowed.n) {
        str one = str_trim(str_cut(allowed, ',', &allowed));
        if (str_eq(one, STR("*")) || (one.n && same_name(one, origin)))
            return true;
    }
    return false;
}

static bool same_secret(str got, str key)
{
    unsigned difference = got.n != key.n;
    for (size_t i = 0; i < got.n; i++)
        difference |= (unsigned char)got.p[i] ^ (unsigned char)(key.n ? key.p[i % key.n] : 1);
    return !difference;
}

bool guard_key_ok(str authorization, str x_api_key, str key)
{
    static const str scheme = STR("Bearer ");
    str bearer = str_sub(authorization, 0, 0);
    if (authorization.n > scheme.n && strncasecmp(authorization.p, scheme.p, scheme.n) == 0)
        bearer = str_trim(str_sub(authorization, scheme.n, authorization.n));
    bool first = same_secret(bearer, key), second = same_secret(str_trim(x_api_key), key);
    return first || second;
}
