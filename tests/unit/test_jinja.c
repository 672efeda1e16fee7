/* Jinja: one row per construct. The right-hand sides are what Python's jinja2 3.1.6 renders, set up
 * as transformers does (but for d.items, where the key counts and not the method). */
#include "test.h"
#include "text/jinja.h"

static const char vars_text[] =
    "{\"s\":\"Hello\",\"e\":\"\",\"n\":3,\"f\":1.5,\"t\":true,\"no\":null,\"big\":"
    "12345678901234567890,\"l\":[1,\"b\",null,2.0],\"empty\":[],\"d\":{\"b\":1,\"a\":{\"x\":[1,2]},"
    "\"items\":\"k\"},\"u\":\"h\\u00e9llo "
    "\\u65e5\\u672c\",\"q\":\"it's\",\"m\":[{\"role\":\"user\",\"content\":\"hi\",\"i\":2},{"
    "\"role\":\"assistant\",\"content\":\" yo \",\"i\":1}],\"w\":\"  a b\\tc \\n\"}";

enum { NOON = 1795435200 }; /* 2026-11-23 12:00 UTC */

/* e and the roles are the template's own, u has another mark than the rest. */
static uint8_t mark(void *ctx, str variable, size_t i, str member)
{
    (void)ctx;
    if (str_eq(variable, STR("e")) || str_eq(member, STR("role")))
        return 0;
    return str_eq(variable, STR("u")) ? 2 : str_eq(variable, STR("m")) && i == 1 ? 3 : 1;
}

/* Renders source with the variables above; false and an error when that fails. */
static bool render(const char *source, struct buf *out, struct jinja_spans *spans, struct err *e)
{
    struct jinja_params p = {.now_unix = NOON, .mark = mark, .max_memory = 64 << 20};
    struct json *vars = json_parse(str_of(vars_text), e);
    CHECK(vars);
    struct jinja *t = jinja_parse(str_of(source), e);
    bool ok = t && jinja_render(t, vars, &p, out, spans, e);
    jinja_close(t);
    json_free(vars);
    return ok;
}

static void check_rows(const char *const (*rows)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct buf out = {0};
        struct err e = {0};
        if (!render(rows[i][0], &out, NULL, &e))
            test_fail(__FILE__, __LINE__, "%s: %s", rows[i][0], e.msg);
        if (!str_eq(buf_view(&out), str_of(rows[i][1])))
            test_fail(__FILE__, __LINE__, "%s: got \"%.*s\", want \"%s\"", rows[i][0], (int)out.n,
                      out.p, rows[i][1]);
        buf_free(&out);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(*rows))

static const char *const delimiters[][2] = {
    {"a {{ n }} b", "a 3 b"},
    {"a {{- n -}} b", "a3b"},
    {"  {% if t %}\nx\n  {% endif %}\ny", "x\ny"},
    {"a {%- if t -%} b {%- endif -%} c", "abc"},
    {"a{# c #}b", "ab"},
    {"a\n  {# c #}\nb", "a\nb"},
    {"  {%+ if t %}x{% endif %}", "  x"},
    {"{% if t +%}\nx{% endif %}", "\nx"},
    {"a\n", "a"},
    {"a\n\n", "a\n"},
    {"a\r\nb\rc", "a\nb\nc"},
    {"{{ {'a': {'b': 1}}['a']['b'] }}", "1"},
    {"{{ '}}' }}", "}}"},
    {"{% raw %}{{ n }}{% endraw %}!", "{{ n }}!"},
    {"x {% raw -%}  {% y %} {%- endraw %}\nz", "x {% y %}z"},
    {"{{ n }}\n  {{ n }}", "3\n  3"},
    {"\n{%- set x = 1 %}\n{{ x }}", "1"},
    {"{# a\nb -#}  c", "c"},
    {"x   {{- '' }}", "x"},
    {"{% set x %}  a{% endset %}[{{ x }}]", "[  a]"},
};

TEST(jinja_delimiters_trim_what_they_must)
{
    CHECK_ROWS(delimiters);
}

static const char *const literals[][2] = {
    {"{{ 'a\\n\\t\\'\\\"\\\\' }}", "a\n\t'\"\\"},
    {"{{ \"\\x41\\u00e9\\q\" }}", "Aé\\q"},
    {"{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 1_000 }} {{ 0.1 }} {{ 1e20 }} {{ 1e-7 }}",
     "1 1.0 1000.0 1000 0.1 1e+20 1e-07"},
    {"{{ true }} {{ True }} {{ false }} {{ none }} {{ None }}", "True True False None None"},
    {"{{ [] }} {{ [1, 'a', none,] }} {{ {} }} {{ {'a': 1, 2: 'b',} }}",
     "[] [1, 'a', None] {} {'a': 1, 2: 'b'}"},
    {"{{ () }} {{ (1,) }} {{ (1, 2) }} {{ 1, 2 }}", "() (1,) (1, 2) (1, 2)"},
    {"{{ 'a' 'b' }}", "ab"},
    {"{{ ['it\\'s', 'a\"b', 'a\"\\'', '\\n\\x01é'] }}",
     "[\"it's\", 'a\"b', 'a\"\\'', '\\n\\x01é']"},
    {"{{ big }}", "12345678901234567890"},
    {"{{ 'a\\\nb' }}", "ab"},
};

TEST(jinja_literals_print_as_in_python)
{
    CHECK_ROWS(literals);
}

static const char *const operators[][2] = {
    {"{{ 1 + 2 * 3 - 4 / 2 }}", "5.0"},
    {"{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ -7.5 // 2 }}",
     "3 -4 1 2 1.5 -4.0"},
    {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }}", "64 4 0.5"},
    {"{{ 'a' + 'b' ~ 1 ~ none }}", "ab1None"},
    {"{{ 'ab' * 3 }} {{ [1] * 2 }} {{ 2 * 'x' }}{{ 'x' * -1 }}", "ababab [1, 1] xx"},
    {"{{ [1] + [2] }} {{ (1,) + (2,) }}", "[1, 2] (1, 2)"},
    {"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}",
     "True False True True"},
    {"{{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ none == none }} {{ [1] == (1,) }} {{ {'a': "
     "1} == {'a': 1} }}",
     "True True False True False True"},
    {"{{ 'a' in 'abc' }} {{ 2 in l }} {{ 'a' in d }} {{ 'z' not in d }} {{ none in l }}",
     "True True True True True"},
    {"{{ not t }} {{ not not e }} {{ not n in l }}", "False False True"},
    {"{{ e or 'x' }} {{ s and 'y' }} {{ e and 1 }} {{ 0 or none }}", "x y  None"},
    {"{{ 'a' if t else 'b' }} {{ 'a' if no else 'b' }}[{{ 'a' if no }}]", "a b[]"},
    {"{{ 1 if no else 2 if no else 3 }}", "3"},
    {"{{ 1 + 2|string|length }}", "2"},
    {"{{ -n|abs }}", "3"},
    {"{{ 'a' ~ s|upper ~ 'b' }}", "aHELLOb"},
    {"{{ 1 + n is number }}", "2"},
    {"{{ n is divisibleby 3 }} {{ n is equalto 3 and t }} {{ n is not odd }}", "True True False"},
    {"{{ (1 + 2) * 3 }}", "9"},
    {"{{ +n }} {{ 10 - 2 - 3 }} {{ 1 - -1 }}", "3 5 2"},
    {"{{ 5 / 2 }} {{ 4 / 2 }}", "2.5 2.0"},
    {"{{ t + 1 }} {{ 1 != 2 }} {{ 2 >= 2 }} {{ 2 <= 1 }}", "2 True True False"},
};

TEST(jinja_operators_follow_python)
{
    CHECK_ROWS(operators);
}

static const char *const access[][2] = {
    {"{{ d.a.x[0] }} {{ d['a']['x'][-1] }} {{ d.zz }}|{{ d['zz'] }}", "1 2 |"},
    {"{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ l.0 }}", "1 2.0 | 1"},
    {"{{ l[1:] }} {{ l[:1] }} {{ l[::-1] }} {{ l[1:3] }} {{ l[-2:] }} {{ l[5:] }} {{ l[::2] }} {{ "
     "l[3:0:-2] }}",
     "['b', None, 2.0] [1] [2.0, None, 'b', 1] ['b', None] [None, 2.0] [] [1, None] [2.0, 'b']"},
    {"{{ s[1:] }} {{ s[:-1] }} {{ s[::-1] }} {{ s[9:] }} {{ u[1] }} {{ u[-2:] }} {{ u[::2] }}",
     "ello Hell olleH  é 日本 hlo日"},
    {"{{ d.items }} {{ d.items()|list }} {{ d.keys()|list }} {{ d.values()|list }}",
     "k [('b', 1), ('a', {'x': [1, 2]}), "
     "('items', 'k')] ['b', 'a', 'items'] [1, {'x': [1, 2]}, 'k']"},
    {"{{ d.get('b') }} {{ d.get('z') }} {{ d.get('z', 5) }}", "1 None 5"},
    {"{{ none.x }}|{{ n.foo }}|{{ s.nope }}|{{ s['x'] }}|", "||||"},
    {"{{ m[0].role }} {{ m|length }} {{ m[-1]['content'] }}", "user 2  yo "},
    {"{{ u|length }} {{ d|length }} {{ e|length }} {{ nope|length }}", "8 3 0 0"},
};

TEST(jinja_attributes_items_and_slices)
{
    CHECK_ROWS(access);
}

static const char *const statements[][2] = {
    {"{% if no %}a{% elif n == 3 %}b{% elif t %}c{% else %}d{% endif %}", "b"},
    {"{% if no %}a{% else %}d{% endif %}", "d"},
    {"{% for x in l %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
     "11,2b,3None,42.0"},
    {"{% for x in empty %}a{% else %}none{% endfor %}", "none"},
    {"{% for x in nope %}a{% endfor %}.", "."},
    {"{% for x in [1,2,3,4] if x is even %}{{ x }}/{{ loop.length }} {% endfor %}", "2/2 4/2 "},
    {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"},
    {"{% for k in d %}{{ k }} {% endfor %}", "b a items "},
    {"{% for c in u %}{{ c }}.{% endfor %}", "h.é.l.l.o. .日.本."},
    {"{% for x in [1,2,3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "13"},
    {"{% for x in [1,2,3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "1"},
    {"{% for x in [1,2,3] %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first "
     "}}{{ loop.previtem is defined }}{{ loop.nextitem }} {% endfor %}",
     "032TrueFalse2 121FalseTrue3 210FalseTrue "},
    {"{% for x in [[1],[2,3]] %}{% for y in x %}{{ loop.index }}{% endfor %}{{ loop.index }};{% "
     "endfor %}",
     "11;122;"},
    {"{% for x in [1, [2, [3]]] recursive %}{{ x if x is number else '(' ~ loop(x) ~ ')' }}@{{ "
     "loop.depth }}{% endfor %}",
     "1@1(2@2(3@3)@2)@1"},
    {"{% for x in [1,2,3] %}{{ loop.cycle('a', 'b') }}{% endfor %}", "aba"},
    {"{% for x in [1,1,2] %}{{ loop.changed(x) }}{% endfor %}", "TrueFalseTrue"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}", "12"},
    {"{% set x = 1 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "231"},
    {"{% set ns = namespace(x=0) %}{% for i in [1,2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ "
     "ns.x }}{{ ns.y is defined }}",
     "3False"},
    {"{% if t %}{% set x = 1 %}{% endif %}{{ x }}", "1"},
    {"{% set x %}a{{ n }}{% endset %}{{ x|upper }}", "A3"},
    {"{% set x | upper | trim %} ab {% endset %}[{{ x }}]", "[AB]"},
    {"{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=1, a=0) }} "
     "{{ f() }}",
     "12 13 01 2"},
    {"{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
     "3210"},
    {"{% macro f() %}{{ s }}{% set s = 1 %}{{ s }}{% endmacro %}{{ f() }}{{ s }}", "Hello1Hello"},
    {"{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}x{{ n }}{% endcall %}", "<x3>"},
    {"{% macro f() %}<{{ caller(5) }}>{% endmacro %}{% call(v) f() %}{{ v }}{% endcall %}", "<5>"},
    {"{% filter upper %}a{{ s }}{% endfilter %}", "AHELLO"},
    {"a{% generation %}b{{ n }}{% endgeneration %}c", "ab3c"},
    {"{% for x in [1] %}{% set y = 2 %}{% endfor %}{{ y is defined }}", "False"},
    {"{% for i in range(3) %}{{ x is defined }}{% set x = 1 %}{% endfor %}", "FalseFalseFalse"},
    {"{% for m in m %}{{ m.role }}{% endfor %}", "userassistant"},
    {"{% macro f(x, y=x) %}{{ y }}{% endmacro %}{{ f(4) }}", "4"},
};

TEST(jinja_statements_and_scopes)
{
    CHECK_ROWS(statements);
}

static const char *const filters[][2] = {
    {"{{ d|tojson }}", "{\"b\": 1, \"a\": {\"x\": [1, 2]}, \"items\": \"k\"}"},
    {"{{ d|tojson(indent=2) }}", "{\n  \"b\": 1,\n  \"a\": {\n    \"x\": [\n      1,\n      2\n    "
                                 "]\n  },\n  \"items\": \"k\"\n}"},
    {"{{ [u, \"<a&'>\", 1.0, 1e20, none, true, 'x\\n\\x1f\"\\\\']|tojson }}",
     "[\"héllo 日本\", \"<a&'>\", 1.0, 1e+20, null, true, \"x\\n\\u001f\\\"\\\\\"]"},
    {"{{ u|tojson(ensure_ascii=True) }} {{ d|tojson(separators=(',', ':')) }} {{ "
     "d|tojson(sort_keys=true) }}",
     "\"h\\u00e9llo \\u65e5\\u672c\" {\"b\":1,\"a\":{\"x\":[1,2]},\"items\":\"k\"} {\"a\": {\"x\": "
     "[1, 2]}, \"b\": 1, \"items\": \"k\"}"},
    {"{{ []|tojson(indent=2) }}{{ {}|tojson(indent=2) }} {{ (1,2)|tojson }} {{ {1: 2, none: "
     "3}|tojson }}",
     "[]{} [1, 2] {\"1\": 2, \"null\": 3}"},
    {"[{{ w|trim }}] [{{ 'xxaxx'|trim('x') }}]", "[a b\tc] [a]"},
    {"{{ n|string + 's' }} {{ no|string }} {{ l|string }}", "3s None [1, 'b', None, 2.0]"},
    {"{{ d|items|list }}", "[('b', 1), ('a', {'x': [1, 2]}), ('items', 'k')]"},
    {"{{ nope|default('x') }} {{ e|default('x') }} {{ e|default('x', true) }} {{ no|d(1) }}",
     "x  x None"},
    {"{{ l|join(', ') }} {{ m|join('-', attribute='role') }} {{ empty|join }}",
     "1, b, None, 2.0 user-assistant "},
    {"{{ 'abc'|list }} {{ d|list }} {{ s|first }} {{ s|last }} {{ empty|first }}",
     "['a', 'b', 'c'] ['b', 'a', 'items'] H o "},
    {"{{ m|selectattr('role', 'equalto', 'user')|list|length }} {{ m|selectattr('nope')|list }} {{ "
     "m|rejectattr('role', 'in', ['user'])|map(attribute='role')|join }}",
     "1 [] assistant"},
    {"{{ [1,2,3]|select('odd')|list }} {{ [1,2,3]|reject('in', [1])|list }} {{ [0,1]|select|list "
     "}}",
     "[1, 3] [2, 3] [1]"},
    {"{{ m|map(attribute='content')|map('trim')|join('|') }} {{ ['a']|map('upper')|list }} {{ "
     "[{'a': {'b': 1}}]|map(attribute='a.b')|list }} {{ [{}]|map(attribute='a', default='z')|list "
     "}}",
     "hi|yo ['A'] [1] ['z']"},
    {"{{ {'b': 1, 'A': 2, 'c': 0}|dictsort }} {{ {'b': 1, 'A': 2}|dictsort(by='value', "
     "reverse=true) }}",
     "[('A', 2), ('b', 1), ('c', 0)] [('A', 2), ('b', 1)]"},
    {"{{ s|upper }} {{ s|lower }} {{ 'ab cd-ef'|title }} {{ 'aBC'|capitalize }} {{ u|upper }}",
     "HELLO hello Ab Cd-Ef Abc HÉLLO 日本"},
    {"{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ 'aaa'|replace('aa', 'b') }}",
     "HeLLo HeLlo ba"},
    {"{{ '{\"a\": [1, 2.0]}'|from_json }}", "{'a': [1, 2.0]}"},
    {"{{ [3,1,2]|min }} {{ [3,1,2]|max }} {{ [1,2]|sum }} {{ m|sum(attribute='i') }} {{ -1|abs }}",
     "1 3 3 3 1"},
    {"{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(1, blank=true) }}",
     "a\n    b\n\n    c|  a\n  b|a\n \n b"},
    {"{{ '42'|int + 1 }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ 3.9|int }} {{ ' 5 '|int }} {{ '3.7'|int "
     "}} {{ '1.5'|float }}",
     "43 0 7 3 5 3 1.5"},
    {"{{ [1,2,1]|unique|list }} {{ ['a','A']|unique|list }}", "[1, 2] ['a']"},
    {"{{ [3,1,2]|sort }} {{ [3,1,2]|sort(reverse=true) }} {{ ['b','A','a']|sort }} {{ "
     "m|sort(attribute='i')|map(attribute='i')|list }}",
     "[1, 2, 3] [3, 2, 1] ['A', 'a', 'b'] [1, 2]"},
    {"{{ s|reverse }} {{ [1,2]|reverse|list }} {{ [1,2,3]|batch(2)|list }} {{ [1]|batch(2, 0)|list "
     "}}",
     "olleH [2, 1] [[1, 2], [3]] [[1, 0]]"},
    {"{{ true|abs }} {{ 3|round }} {{ \"it's-a b\"|wordcount }}", "1 3 4"},
    {"{{ 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0, 'ceil') }}", "2.0 2.57 3.0"},
    {"{{ 'a b  c'|wordcount }} {{ s|safe }} {{ s|e }} {{ s|count }}", "3 Hello Hello 5"},
    {"{{ none|selectattr('x')|list }}", "[]"},
    {"{{ ['a', ['b']]|last|first }}", "b"},
    {"{{ [1, 2]|map('string')|join('+') }}", "1+2"},
};

TEST(jinja_filters)
{
    CHECK_ROWS(filters);
}

static const char *const tests[][2] = {
    {"{{ s is defined }} {{ nope is defined }} {{ nope is undefined }} {{ d.z is defined }} {{ no "
     "is none }} {{ no is defined }}",
     "True False True False True True"},
    {"{{ s is string }} {{ d is mapping }} {{ l is mapping }}", "True True False"},
    {"{{ s is iterable }} {{ no is iterable }} {{ nope is iterable }} {{ d is iterable }} {{ n is "
     "iterable }}",
     "True False True True False"},
    {"{{ s is sequence }} {{ d is sequence }} {{ l is sequence }} {{ nope is sequence }} {{ n is "
     "sequence }}",
     "True True True True False"},
    {"{{ t is boolean }} {{ t is true }} {{ 1 is true }} {{ t is false }} {{ false is false }}",
     "True True False False True"},
    {"{{ n is number }} {{ t is number }} {{ f is float }} {{ n is float }} {{ n is integer }} {{ "
     "t is integer }} {{ big is integer }}",
     "True True True False True False True"},
    {"{{ n is eq 3 }} {{ n is ne 3 }} {{ n is lt 4 }} {{ n is gt 4 }} {{ n is ge 3 }} {{ n is le 2 "
     "}} {{ 'a' is in 'abc' }} {{ n is in [3] }}",
     "True False True False True False True True"},
    {"{{ range is callable }} {{ n is callable }} {{ 'a' is lower }} {{ 'A' is upper }} {{ 2 is "
     "even }}",
     "True False True True True"},
    {"{{ s is not string }} {{ s is string and n is number }} {{ 'x' if s is string else 'y' }}",
     "False True x"},
};

TEST(jinja_tests)
{
    CHECK_ROWS(tests);
}

static const char *const methods[][2] = {
    {"{{ 'a</think>b'.split('</think>')[-1] }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} "
     "{{ 'a b c'.split(none, 1) }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a,b,c'.rsplit(',', 1) "
     "}}",
     "b ['a', 'b'] ['a', 'b,c'] ['a', 'b c'] [''] [] ['a,b', 'c']"},
    {"[{{ w.strip() }}] [{{ w.lstrip() }}] [{{ w.rstrip() }}] {{ '\n\na\n'.strip('\n') }} {{ "
     "'xyaxy'.strip('yx') }}",
     "[a b\tc] [a b\tc \n] [  a b\tc] a a"},
    {"{{ s.startswith('He') }} {{ s.endswith('x') }} {{ s.startswith(('x', 'H')) }}",
     "True False True"},
    {"{{ s.replace('l', '') }} {{ s.replace('l', 'x', 1) }} {{ 'ab'.replace('', '-') }}",
     "Heo Hexlo -a-b-"},
    {"{{ s.upper() }} {{ s.lower() }} {{ \"they're bill\".title() }} {{ 'aB'.capitalize() }}",
     "HELLO hello They'Re Bill Ab"},
    {"{{ ', '.join(['a', 'b']) }} {{ '<{}>{{}}'.format('x') }} {{ '{1}{0}{k}'.format(1, 2, k=3) }}",
     "a, b <x>{} 213"},
    {"{{ s.find('l') }} {{ s.find('z') }} {{ s.rfind('l') }} {{ s.index('e') }} {{ s.count('l') }} "
     "{{ u.find('日') }}",
     "2 -1 3 1 2 6"},
    {"{{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ ''.isdigit() }} {{ "
     "'a1'.isalnum() }}",
     "True True True False True"},
    {"{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'a\nb\r\nc'.splitlines() }}",
     "bc ab ['a', 'b', 'c']"},
    {"{{ l.index('b') }} {{ l.count(none) }}", "1 1"},
    {"{% for k, v in d.items() %}{{ k }};{% endfor %}", "b;a;items;"},
};

TEST(jinja_methods)
{
    CHECK_ROWS(methods);
}

static const char *const globals[][2] = {
    {"{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ range(0)|list }}",
     "[0, 1, 2] [1, 2, 3] [5, 3, 1] []"},
    {"{{ strftime_now('%Y-%m-%d %d %b %B %y %j %H:%M') }}",
     "2026-11-23 23 Nov November 26 327 12:00"},
    {"{{ dict(a=1, b=s) }}", "{'a': 1, 'b': 'Hello'}"},
    {"{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}", "12"},
};

TEST(jinja_globals)
{
    CHECK_ROWS(globals);
}

/* Python refuses these too. */
static const char *const failing[] = {
    "{{ nope.x }}",
    "{{ 'a' + 1 }}",
    "{{ 'a' + nope }}",
    "{{ 1 + none }}",
    "{{ nope() }}",
    "{{ no[1:] }}",
    "{{ n[::-1] }}",
    "{{ 'a' in none }}",
    "{{ l.append(1) }}",
    "{{ d.pop('a') }}",
    "{{ d.update({}) }}",
    "{{ nope|tojson }}",
    "{{ n|items|list }}",
    "{{ 1 < 'a' }}",
    "{{ raise_exception('no ' ~ s) }}",
    "{{ s|nofilter }}",
    "{{ s is notest }}",
    "{% set d.x = 1 %}",
    "{% set a, b = [1] %}",
    "{{ 1 // 0 }}",
    "{{ [1]|map('string')|tojson }}",
    "{{ [1]|map('string')|length }}",
    "{% for x in 5 %}{% endfor %}",
    "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
    "{{ s.strip(1) }}",
    "{{ ''.join([1]) }}",
    "{{ s.split('') }}",
    "{{ [][0].x }}",
    "{{ range(1, 2, 0) }}",
    "{{ s() }}",
    "{{ - s }}",
    "{{ '{'.format() }}",
};

TEST(jinja_refuses_at_run_time)
{
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        struct buf out = {0};
        struct err e = {0};
        buf_str(&out, STR("before"));
        if (render(failing[i], &out, NULL, &e))
            test_fail(__FILE__, __LINE__, "%s: was rendered", failing[i]);
        bool raised = strstr(failing[i], "raise_exception") != NULL;
        CHECK_INT(e.code, raised ? ERR_USAGE : ERR_FORMAT);
        CHECK(raised || str_starts(str_of(e.msg), STR("template line 1: ")));
        CHECK_STR(buf_view(&out), STR("before"));
        buf_free(&out);
    }
}

static const char *const broken[] = {
    "{{ n",
    "{% if t %}",
    "{% endif %}",
    "{{ }}",
    "{{ 1 + }}",
    "{% for x l %}{% endfor %}",
    "{% include 'x' %}",
    "{% set %}",
    "{% set x = %}",
    "{{ 'abc }}",
    "{{ (1 }}",
    "{{ 1) }}",
    "{# abc",
    "{% raw %}",
    "{{ a.1b }}",
    "{{ a. }}",
    "{{ a| }}",
    "{{ a is }}",
    "{% macro %}{% endmacro %}",
    "{{ f(a=1, 2) }}",
    "{% else %}",
    "{{ [1, }}",
    "{{ {1 2} }}",
    "{{ a ! b }}",
    "{% for 1 in x %}{% endfor %}",
    "{% if t %}{% endfor %}",
};

TEST(jinja_refuses_broken_templates)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct err e = {0};
        if (jinja_parse(str_of(broken[i]), &e))
            test_fail(__FILE__, __LINE__, "%s: was parsed", broken[i]);
        CHECK_INT(e.code, ERR_FORMAT);
        CHECK(str_starts(str_of(e.msg), STR("template line 1: ")));
    }
}

static void check_message(const char *source, const char *want)
{
    struct buf out = {0};
    struct err e = {0};
    CHECK(!render(source, &out, NULL, &e));
    CHECK_STR(str_of(e.msg), str_of(want));
    buf_free(&out);
}

TEST(jinja_errors_say_where_and_what)
{
    check_message("a\n{{ 1 +\n }}", "template line 3: expected an expression, found '}}'");
    check_message("{% if t %}\n\nx",
                  "template line 3: expected '{% elif %}', found the end of the template");
    check_message("\n{% frob %}", "template line 2: expected one of the statements if, for, set, "
                                  "macro, call, filter, generation, break, continue, found 'frob'");
    check_message("\n\n{{ nope.x }}", "template line 3: 'nope' is undefined, so it has no 'x'");
    check_message("{{ raise_exception('Roles must alternate') }}",
                  "the model's chat template refuses: Roles must alternate");
    check_message("{{ l.append(1) }}",
                  "template line 1: list has no method 'append' that a template may call");
}

/* ---- limits ---- */

static void check_limit(const char *source)
{
    struct buf out = {0};
    struct err e = {0};
    if (render(source, &out, NULL, &e))
        test_fail(__FILE__, __LINE__, "%s: was rendered", source);
    if (e.code != ERR_LIMIT)
        test_fail(__FILE__, __LINE__, "%s: %s", source, e.msg);
    buf_free(&out);
}

TEST(jinja_stops_endless_work)
{
    check_limit("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}");
    check_limit("{{ range(1000001) }}");
    check_limit("{{ range(-9223372036854775807, 9223372036854775807) }}");
    check_limit("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    check_limit("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
    check_limit("{{ 'abcdefgh' * 1000000000 }}");
    check_limit("{{ [1] * 1000000000 }}");
    check_limit("{% set ns = namespace(x='ab') %}{% for i in range(100) %}"
                "{% set ns.x = ns.x + ns.x %}{% endfor %}");
    check_limit("{% set ns = namespace(x=[]) %}{% for i in range(100) %}"
                "{% set ns.x = ns.x + ns.x + [1] %}{% endfor %}");
    check_limit("{% set ns = namespace(x=[]) %}{% for i in range(3000) %}"
                "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}");
    check_limit("{% set ns = namespace(x=[]) %}{% for i in range(3000) %}"
                "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == ns.x }}");
    check_limit("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}");
    check_limit("{{ 9223372036854775807 + 1 }}");
    check_limit("{{ 10 ** 100 }}");
    check_limit("{{ 1|tojson(indent=1000) }}");
}

/* Puts n times `part` and then `end`. */
static void put_times(struct buf *b, const char *part, int n, const char *end)
{
    for (int i = 0; i < n; i++)
        buf_str(b, str_of(part));
    buf_str(b, str_of(end));
}

TEST(jinja_limits_nesting)
{
    static const char *const brackets[][2] = {{"(", ")"},  {"[", "]"},  {"- ", ""},   {"not ", ""},
                                              {"a[", "]"}, {"f(", ")"}, {"{1: ", "}"}};
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        struct buf b = {0};
        struct err e = {0};
        put_times(&b, "{{ ", 1, "");
        put_times(&b, brackets[i][0], 100000, "1");
        put_times(&b, brackets[i][1], 100000, " }}");
        CHECK(!jinja_parse(buf_view(&b), &e));
        CHECK_INT(e.code, ERR_LIMIT);
        buf_free(&b);
    }
    struct buf b = {0};
    struct err e = {0};
    put_times(&b, "{% if 1 %}", 50000, "");
    CHECK(!jinja_parse(buf_view(&b), &e));
    CHECK_INT(e.code, ERR_LIMIT);
    buf_clear(&b);
    put_times(&b, "{{ 1", 1, "");
    put_times(&b, " + 1", 1000, " }}");
    CHECK(!jinja_parse(buf_view(&b), &e));
    CHECK_INT(e.code, ERR_LIMIT);
    buf_clear(&b);
    put_times(&b, "x", JINJA_MAX_SOURCE + 1, "");
    CHECK(!jinja_parse(buf_view(&b), &e));
    CHECK_INT(e.code, ERR_LIMIT);
    buf_free(&b);
}

/* A conversation that is joined in a namespace, message by message, must not cost its square. */
TEST(jinja_appends_in_linear_memory)
{
    struct jinja_params p = {.max_memory = 64 << 20};
    struct buf out = {0};
    struct err e = {0};
    struct json *vars = json_parse(STR("{\"s\": \"0123456789\"}"), &e);
    struct jinja *t = jinja_parse(STR("{% set ns = namespace(x='') %}{% for i in range(50000) %}"
                                      "{% set ns.x = ns.x + s + '\\n' %}{% endfor %}{{ ns.x }}"),
                                  &e);
    CHECK_OK(t && jinja_render(t, vars, &p, &out, NULL, &e));
    CHECK_INT(out.n, 550000);
    jinja_close(t);
    json_free(vars);
    buf_free(&out);
}

/* ---- Python's printing ---- */

/* expression over the variable v, which is this JSON. */
static void check_printed(const char *expression, const char *v, str want)
{
    struct err e = {0};
    struct buf text = {0}, out = {0};
    buf_fmt(&text, "{\"v\":%s}", v);
    struct json *vars = json_parse(buf_view(&text), &e);
    struct jinja *t = jinja_parse(str_of(expression), &e);
    CHECK(vars && t);
    CHECK_OK(jinja_render(t, vars, &(struct jinja_params){0}, &out, NULL, &e));
    CHECK_STR(buf_view(&out), want);
    jinja_close(t);
    json_free(vars);
    buf_free(&text);
    buf_free(&out);
}

/* Right-hand sides are what str() of Python 3.11 gives. */
TEST(jinja_prints_like_python)
{
    check_printed("{{ v }}", "\"a'b\"", STR("a'b"));
    check_printed("{{ v }}", "[null,true,false,1,-2.50,1e20]",
                  STR("[None, True, False, 1, -2.5, 1e+20]"));
    check_printed("{{ v }}", "[\"a'b\",\"a\\\"b\",\"'\\\"\",\"\\\\\"]",
                  STR("[\"a'b\", 'a\"b', '\\'\"', '\\\\']"));
    check_printed("{{ v }}",
                  "[\"\\n\\t\\r\\u0001\\u007f\\u00a0\\u00e9\\u200b\\ud83d\\ude80\\udbff\\udfff\"]",
                  STR("['\\n\\t\\r\\x01\\x7f\\xa0\xc3\xa9\\u200b\xf0\x9f\x9a\x80\\U0010ffff']"));
    check_printed("{{ v }}", "{\"k\":{},\"l\":[]}", STR("{'k': {}, 'l': []}"));
}

TEST(jinja_trims_unicode_white_space)
{
    check_printed("{{ v | trim }}", "\" \\t\\n\\u001c\\u00a0\\u2028a b\\u3000\\u0085\\u000b \"",
                  STR("a b"));
    check_printed("{{ v | trim }}", "\" \\u200b \"", STR("\xe2\x80\x8b"));
    check_printed("{{ v | trim }}", "\" \\n \"", STR(""));
    check_printed("{{ v | trim }}", "\"\"", STR(""));
}

/* ---- which bytes came from the variables ---- */

/* Writes the output with [ ] around every span, and its mark where that is not 1. */
static void check_spans(const char *source, const char *want)
{
    struct jinja_spans spans = {0};
    struct buf out = {0}, shown = {0};
    struct err e = {0};
    size_t done = 0;
    if (!render(source, &out, &spans, &e))
        test_fail(__FILE__, __LINE__, "%s: %s", source, e.msg);
    for (size_t i = 0; i < spans.n; i++) {
        CHECK(spans.at[i].from >= done && spans.at[i].from < spans.at[i].to);
        buf_str(&shown, str_sub(buf_view(&out), done, spans.at[i].from));
        buf_fmt(&shown, spans.at[i].mark == 1 ? "[" : "[%d:", spans.at[i].mark);
        buf_fmt(&shown, "%.*s]", (int)(spans.at[i].to - spans.at[i].from),
                out.p + spans.at[i].from);
        done = spans.at[i].to;
    }
    buf_str(&shown, str_sub(buf_view(&out), done, SIZE_MAX));
    if (!str_eq(buf_view(&shown), str_of(want)))
        test_fail(__FILE__, __LINE__, "%s: got %.*s, want %s", source, (int)shown.n, shown.p, want);
    free(spans.at);
    buf_free(&out);
    buf_free(&shown);
}

TEST(jinja_marks_what_came_from_outside)
{
    check_spans("<{{ s }}>", "<[Hello]>");
    check_spans("{{ '<|' + s + '|>' }}", "<|[Hello]|>");
    check_spans("{{ ('<' + s + '>')[1:-1] }}", "[Hello]");
    check_spans("{{ ('<' + s + '>')[2:] }}", "[ello]>");
    check_spans("{{ ('<' ~ s)[::-1] }}", "[olleH]<");
    check_spans("{{ (' ' + w)|trim }}|{{ (w + 'x').strip() }}", "[a b\tc]|[a b\tc \n]x");
    check_spans("{{ ('x' + s)|replace('x', '<') }}", "<[Hello]");
    check_spans("{{ 'xx'|replace('x', s) }}", "[HelloHello]");
    check_spans("{{ s|replace('l', '<') }}", "[He]<<[o]");
    check_spans("{{ s|upper }}{{ ('x' + s)|upper }}", "[HELLO]X[HELLO]");
    check_spans("{{ [s, 'x', s]|join(',') }}", "[Hello],x,[Hello]");
    check_spans("{{ {'k': s, 'j': q}|tojson }}", "{\"k\": \"[Hello]\", \"j\": \"[it's]\"}");
    check_spans("{{ [s] }}", "['[Hello]']");
    check_spans("{% for k, v in d.items() %}{{ k }}{% endfor %}", "[baitems]");
    check_spans("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(s) }}", "<[Hello]>");
    check_spans("{% set x %}<{{ s }}>{% endset %}{{ x }}{{ x[1:3] }}", "<[Hello]>[He]");
    check_spans("{{ 'a{}c'.format(s) }}", "a[Hello]c");
    check_spans("{{ ('<' + s + '>').split('e')|join('-') }}", "<[H]-[llo]>");
    check_spans("{% filter upper %}a{{ s }}{% endfilter %}", "A[HELLO]");
    check_spans("{{ ('a\n' + s)|indent(1) }}", "a\n [Hello]");
    check_spans("{{ '<b>'|safe + q + '&' }}", "<b>[it&#39;s]&amp;");
    check_spans("{{ n }}{{ t }}{{ m[0].role }}{{ e }}{{ m[0].content }}", "3Trueuser[hi]");
    check_spans("{% for c in 'x' + s %}{{ c }}.{% endfor %}", "x.[H].[e].[l].[l].[o].");
    check_spans("{{ ('<' + u + s)[1:] }}", "[2:h\xc3\xa9llo \xe6\x97\xa5\xe6\x9c\xac][Hello]");
    check_spans("{{ s + m[1].content + m[0].content + m[1].role }}",
                "[Hello][3: yo ][hi]assistant");
    check_spans("{{ [u[:2], s[:1]] }}", "['[2:h\xc3\xa9]', '[H]']");
    check_spans("{{ (u[:1] + s[:1])|tojson }}", "\"[2:h][H]\"");
}
