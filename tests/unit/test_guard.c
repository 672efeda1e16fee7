#include "test.h"

#include "server/guard.h"

TEST(guard_takes_local_host_names_only)
{
    str bound = STR("127.0.0.1");
    static const char *const good[] = {
        "",           "localhost",      "LOCALHOST:8080", "127.0.0.1",
        "[::1]:99",   "127.0.0.1:8080", "127.9.9.9",      "[0:0:0:0:0:0:0:1]:80",
        " localhost "};
    static const char *const bad[] = {"evil.example",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.test",
                                      "10.0.0.1:80",
                                      "127.0.0.1@evil.test",
                                      "[::2]:80",
                                      "[::1",
                                      "127.0.0.1.",
                                      "127.1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!guard_host_ok(str_of(good[i]), bound))
            test_fail(__FILE__, __LINE__, "refused: '%s'", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (guard_host_ok(str_of(bad[i]), bound))
            test_fail(__FILE__, __LINE__, "taken: '%s'", bad[i]);
    CHECK(guard_host_ok(STR("box.lan:8080"), STR("box.lan")));
    CHECK(guard_host_ok(STR("[fd00::5]:8080"), STR("fd00::5")));
}

TEST(guard_takes_origins_of_local_pages_and_editors)
{
    str bound = STR("127.0.0.1");
    CHECK(guard_origin_ok(STR(""), bound));
    CHECK(guard_origin_ok(STR("http://localhost:3000"), bound));
    CHECK(guard_origin_ok(STR("https://127.0.0.1"), bound));
    CHECK(guard_origin_ok(STR("vscode-webview://abc"), bound));
    CHECK(!guard_origin_ok(STR("https://evil.example"), bound));
    CHECK(!guard_origin_ok(STR("HTTP://evil.example"), bound));
    CHECK(!guard_origin_ok(STR("http://localhost@evil.example"), bound));
    CHECK(!guard_origin_ok(STR("http://localhost.evil.example"), bound));
    CHECK(!guard_origin_ok(STR("null"), bound));
}

TEST(guard_lets_in_the_origins_of_the_list)
{
    str list = STR("http://a:1, HTTPS://b.example");
    CHECK(guard_cors_ok(STR("http://a:1"), list));
    CHECK(guard_cors_ok(STR("https://b.example"), list));
    CHECK(guard_cors_ok(STR("null"), STR("*")));
    CHECK(!guard_cors_ok(STR(""), STR("*")));
    CHECK(!guard_cors_ok(STR("http://a"), list));
    CHECK(!guard_cors_ok(STR("http://a:11"), list));
    CHECK(!guard_cors_ok(STR("http://a:1, HTTPS://b.example"), list));
    CHECK(!guard_cors_ok(STR("http://a:1"), STR("")));
    CHECK(!guard_cors_ok(STR("http://a:1"), STR(",")));
}

TEST(guard_compares_keys)
{
    str none = STR(""), key = STR("secret");
    CHECK(guard_key_ok(STR("Bearer secret"), none, key));
    CHECK(guard_key_ok(STR("bearer  secret "), none, key));
    CHECK(guard_key_ok(none, STR("secret"), key));
    CHECK(guard_key_ok(STR("Bearer wrong"), STR("secret"), key));
    CHECK(!guard_key_ok(none, none, key));
    CHECK(!guard_key_ok(STR("Bearer "), none, key));
    CHECK(!guard_key_ok(STR("secret"), none, key));
    CHECK(!guard_key_ok(STR("Bearer secre"), none, key));
    CHECK(!guard_key_ok(STR("Bearer secretsecret"), STR("SECRET"), key));
}
