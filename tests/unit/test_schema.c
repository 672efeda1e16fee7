#include "text/schema.h"

#include "kit/grammar_match.h"
#include "test.h"

/* Values a schema's grammar must allow, and values that are not valid. The check of values must say
 * the same. */
struct schema_case {
    const char *schema;
    const char *good[8];
    const char *bad[10];
};

static const struct schema_case cases[] = {
    {"{\"type\":\"string\"}",
     {"\"\"", "\"a b\"", "\"\\\"\\\\\\n\\u00e4\\ud83d\\ude00\"", "\"\xc3\xa4\""},
     {"1", "null", "[]", "true"}},
    {"{\"type\":\"integer\"}", {"0", "-1", "123456789012345"}, {"1.5", "\"1\"", "true"}},
    {"{\"type\":\"number\"}", {"0", "-1.25", "1e5", "1.5E-3"}, {"\"1\"", "null"}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"0", "\"true\"", "null"}},
    {"{\"type\":\"null\"}", {"null"}, {"0", "false", "\"\""}},
    {"{\"type\":[\"string\",\"null\"]}", {"null", "\"x\""}, {"1", "[]"}},
    {"{\"type\":\"string\",\"nullable\":true}", {"null", "\"x\""}, {"1"}},
    {"{}", {"1", "\"x\"", "{\"a\":[1,{\"b\":null}]}", "[]", "{}", "true"}, {NULL}},
    {"true", {"1", "{}"}, {NULL}},

    {"{\"enum\":[\"a\",1,null,true,{\"k\":[2]}]}",
     {"\"a\"", "1", "null", "true", "{\"k\":[2]}"},
     {"\"b\"", "2", "false", "{}"}},
    {"{\"type\":\"string\",\"enum\":[\"a\",1,\"b\\\"c\"]}",
     {"\"a\"", "\"b\\\"c\""},
     {"1", "\"b\""}},
    {"{\"const\":\"fixed\"}", {"\"fixed\""}, {"\"other\"", "1"}},
    {"{\"const\":null}", {"null"}, {"1", "\"null\""}},

    {"{\"type\":\"string\",\"minLength\":2}", {"\"ab\"", "\"abcdef\""}, {"\"\"", "\"a\""}},
    {"{\"type\":\"string\",\"maxLength\":3}",
     {"\"\"", "\"abc\"", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\\n\\\"\\\\\""},
     {"\"abcd\""}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":80}",
     {"\"ab\"", "\"0123456789012345678901234567890123456789\""},
     {"\"a\"",
      "\"012345678901234567890123456789012345678901234567890123456789012345678901234567890\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z]+-\\\\d{2,3}$\"}",
     {"\"a-12\"", "\"abc-123\""},
     {"\"a-1\"", "\"A-12\"", "\"a-12 \"", "\"xa-1234\""}},
    {"{\"type\":\"string\",\"pattern\":\"b+\"}", {"\"abc\"", "\"b\""}, {"\"\"", "\"aca\""}},
    {"{\"type\":\"string\",\"pattern\":\"^(foo|bar)(\\\\.\\\\w+)?$|^$\"}",
     {"\"foo\"", "\"bar.x_1\"", "\"\""},
     {"\"foobar\"", "\"foo.\"", "\"x\""}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\"\\\\\\\\[^\\\\s\\\"]$\"}",
     {"\"\\\"\\\\x\""},
     {"\"\\\"\\\\ \"", "\"x\""}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\u00e4[\\\\x41-C\\\\-]{2}?$\"}",
     {"\"\xc3\xa4"
      "A-\""},
     {"\"\xc3\xa4"
      "D-\"",
      "\"a\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\"", "\"2023-04-30\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-13-01\"", "\"2023-1-1\""}},
    {"{\"type\":\"string\",\"format\":\"time\"}",
     {"\"12:30:59Z\"", "\"00:00:00.123+02:00\""},
     {"\"24:00:00Z\"", "\"12:60:00Z\"", "\"12:30\""}},
    {"{\"type\":\"string\",\"format\":\"date-time\"}",
     {"\"2024-05-06T07:08:09Z\""},
     {"\"2024-05-06\"", "\"2024-05-06 07:08:09Z\""}},
    {"{\"type\":\"string\",\"format\":\"uuid\"}",
     {"\"123e4567-e89b-12d3-a456-426614174000\""},
     {"\"123e4567-e89b-12d3-a456-42661417400\"", "\"g23e4567-e89b-12d3-a456-426614174000\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}",
     {"\"127.0.0.1\"", "\"255.255.255.255\""},
     {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
    {"{\"type\":\"string\",\"format\":\"email\"}",
     {"\"a.b@c.de\""},
     {"\"a@\"", "\"@b.c\"", "\"ab\""}},
    {"{\"type\":\"string\",\"format\":\"uri\"}",
     {"\"https://a.example/x?y=1\"", "\"mailto:a@b\""},
     {"\"no uri\"", "\"\""}},

    {"{\"type\":\"integer\",\"minimum\":0}", {"0", "7", "1000000"}, {"-1", "1.5"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":0,\"maximum\":9007199254740991}",
     {"1", "9007199254740991"},
     {"0", "9007199254740992", "-5"}},
    {"{\"type\":\"integer\",\"minimum\":-12,\"maximum\":105}",
     {"-12", "-9", "0", "99", "100", "105"},
     {"-13", "-20", "106", "110", "1000"}},
    {"{\"type\":\"integer\",\"minimum\":345,\"maximum\":371}",
     {"345", "349", "350", "369", "371"},
     {"344", "372", "34", "3450", "339"}},
    {"{\"type\":\"integer\",\"minimum\":10,\"exclusiveMaximum\":true,\"maximum\":20}",
     {"10", "19"},
     {"9", "20"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     {"0", "1", "0.5", "0.25"},
     {"-0.5", "1.5", "2"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0}", {"1", "0.1", "17.25"}, {"0", "-1"}},
    {"{\"type\":\"number\",\"minimum\":-2.5,\"maximum\":2.5}",
     {"-2", "2", "1.5", "-1.5", "0.5", "-0.5"},
     {"-2.75", "3", "2.75"}},
    {"{\"type\":\"number\",\"multipleOf\":1}", {"3", "-4"}, {"1.5"}},

    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
     {"[]", "[1]", "[1, 2,3]", "[\n  1,\n  2\n]"},
     {"[\"a\"]", "[1.5]", "{}", "1"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1,\"maxItems\":3}",
     {"[true]", "[true,false,true]"},
     {"[]", "[true,true,true,true]"}},
    {"{\"type\":\"array\",\"minItems\":2}", {"[1,\"a\"]"}, {"[]", "[1]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],"
     "\"items\":{\"type\":\"null\"}}",
     {"[]", "[\"a\"]", "[\"a\",1]", "[\"a\",1,null,null]"},
     {"[1]", "[\"a\",\"b\"]", "[\"a\",1,2]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],"
     "\"items\":false,\"minItems\":2}",
     {"[\"a\",1]"},
     {"[]", "[\"a\"]", "[\"a\",1,1]"}},
    {"{\"type\":\"array\",\"items\":[{\"const\":1},{\"const\":2}],\"additionalItems\":false}",
     {"[1]", "[1,2]"},
     {"[2]", "[1,2,3]"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[1,2]},\"minItems\":30,\"maxItems\":31}",
     {"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]"},
     {"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
      "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"}},

    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}"
     "},"
     "\"required\":[\"a\"],\"additionalProperties\":false}",
     {"{\"a\":1}", "{\"a\": 1, \"b\": \"x\"}", "{\"b\":\"x\",\"a\":1}", "{\n  \"a\": 1\n}"},
     {"{}", "{\"b\":\"x\"}", "{\"a\":\"x\"}", "{\"a\":1,\"c\":2}", "[]"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":"
     "\"integer\"}}",
     {"{}", "{\"a\":\"x\"}", "{\"b\":1,\"a\":[],\"c\":2}", "{\"ab\":1}"},
     {"{\"b\":\"x\"}", "{\"ab\":\"x\"}"}},
    {"{\"type\":\"object\",\"additionalProperties\":{\"type\":\"boolean\"},\"minProperties\":1,"
     "\"maxProperties\":2}",
     {"{\"x\":true}", "{\"x\":true,\"y\":false}"},
     {"{}", "{\"x\":1}", "{\"x\":true,\"y\":true,\"z\":true}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"c\"],"
     "\"additionalProperties\":false,\"minProperties\":2,\"maxProperties\":2}",
     {"{\"c\":1,\"a\":1}", "{\"b\":1,\"c\":1}"},
     {"{\"c\":1}", "{\"a\":1,\"b\":1}", "{\"a\":1,\"b\":1,\"c\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"enum\":[]},\"c\":{}},"
     "\"additionalProperties\":false,\"minProperties\":2}",
     {"{\"c\":1,\"a\":1}"},
     {"{\"c\":1}", "{\"a\":1,\"b\":1}"}},
    {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^x-\"},"
     "\"additionalProperties\":{\"type\":\"string\"}}",
     {"{}", "{\"x-a\":\"b\"}"},
     {"{\"a\":\"b\"}"}},
    {"{\"type\":\"object\",\"required\":[\"free\"]}", {"{\"free\":[1]}"}, {"{}"}},

    {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"enum\":[\"auto\"]}]}",
     {"1", "\"auto\""},
     {"\"x\"", "true", "1.5"}},
    {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"a\"},\"x\":{\"type\":"
     "\"integer\"}},\"required\":[\"t\",\"x\"]},{\"type\":\"object\",\"properties\":{\"t\":{"
     "\"const\":"
     "\"b\"},\"y\":{\"type\":\"string\"}},\"required\":[\"t\",\"y\"]}]}",
     {"{\"t\":\"a\",\"x\":1}", "{\"y\":\"s\",\"t\":\"b\"}"},
     {"{\"t\":\"a\",\"y\":\"s\"}", "{\"t\":\"c\"}", "{\"t\":\"b\",\"x\":1}", "{}"}},
    {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":"
     "[\"a\"]},{\"properties\":{\"b\":{\"type\":\"string\"}},\"required\":[\"b\"]}]}",
     {"{\"a\":1,\"b\":\"x\"}", "{\"b\":\"x\",\"a\":1}"},
     {"{\"a\":1}", "{\"b\":\"x\"}", "{\"a\":\"x\",\"b\":\"x\"}"}},
    {"{\"allOf\":[{\"minimum\":3},{\"maximum\":5}],\"type\":\"integer\"}", {"3", "5"}, {"2", "6"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
     "\"integer\"}},"
     "\"additionalProperties\":false,\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
     {"{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"},
     {"{}", "{\"a\":\"x\"}"}},

    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":"
     "{\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}},\"required\":[\"v\",\"next\"],"
     "\"additionalProperties\":false}},\"$ref\":\"#/$defs/n\"}",
     {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"next\":{\"v\":3,\"next\":null},\"v\":2}}"},
     {"{\"v\":1}", "{\"v\":1,\"next\":{\"v\":2}}", "null"}},
    {"{\"type\":\"object\",\"properties\":{\"children\":{\"type\":\"array\",\"items\":{\"$ref\":\"#"
     "\"}}},"
     "\"additionalProperties\":false}",
     {"{}", "{\"children\":[{},{\"children\":[{}]}]}"},
     {"{\"children\":[1]}", "{\"children\":{}}"}},
    {"{\"definitions\":{\"a/b\":{\"enum\":[1]},\"c~d\":{\"enum\":[2]}},\"anyOf\":[{\"$ref\":"
     "\"#/definitions/a~1b\"},{\"$ref\":\"#/definitions/c~0d\"}]}",
     {"1", "2"},
     {"3"}},
};

static struct json *parse(const char *text)
{
    struct err e = {0};
    struct json *v = json_parse(str_of(text), &e);
    if (!v && strcmp(text, "null") != 0)
        test_fail(__FILE__, __LINE__, "%s: %s", text, e.msg);
    return v;
}

TEST(schema_grammars_allow_valid_values_and_no_others)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *schema = parse(cases[i].schema);
        struct grammar *g = kit_schema_grammar(schema, NULL);
        kit_check_matches(g, cases[i].good, cases[i].bad);
        grammar_free(g);
        json_free(schema);
    }
}

static void check_says(const struct json *schema, const char *const *values, bool want)
{
    for (; *values; values++) {
        struct buf why = {0};
        struct json *v = parse(*values);
        if (schema_check(schema, schema, v, &why) != want)
            test_fail(__FILE__, __LINE__, "%s: want %s, got %.*s", *values,
                      want ? "valid" : "not valid", STRF(buf_view(&why)));
        json_free(v);
        buf_free(&why);
    }
}

TEST(schema_check_agrees_with_the_grammars)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *schema = parse(cases[i].schema);
        check_says(schema, cases[i].good, true);
        check_says(schema, cases[i].bad, false);
        json_free(schema);
    }
}

TEST(schema_check_knows_keywords_that_grammars_relax)
{
    static const struct schema_case relaxed[] = {
        {"{\"uniqueItems\":true}", {"[1,2]", "3"}, {"[1,1]", "[{\"a\":1},{\"a\":1}]"}},
        {"{\"not\":{\"type\":\"string\"}}", {"1"}, {"\"x\""}},
        {"{\"multipleOf\":0.5}", {"1.5", "2"}, {"0.3"}},
        {"{\"contains\":{\"type\":\"integer\"}}", {"[1,\"a\"]"}, {"[]", "[\"a\"]"}},
        {"{\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]},\"else\":{\"required\":"
         "[\"c\"]}}",
         {"{\"a\":1,\"b\":1}", "{\"c\":1}"},
         {"{\"a\":1}", "{}"}},
        {"{\"dependentRequired\":{\"a\":[\"b\"]}}", {"{}", "{\"a\":1,\"b\":1}"}, {"{\"a\":1}"}},
        {"{\"patternProperties\":{\"^n\":{\"type\":\"integer\"}},\"additionalProperties\":false}",
         {"{\"n1\":1}"},
         {"{\"n1\":\"x\"}", "{\"m\":1}"}},
        {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":3}]}", {"0", "5"}, {"2"}},
    };
    for (size_t i = 0; i < sizeof relaxed / sizeof *relaxed; i++) {
        struct json *schema = parse(relaxed[i].schema);
        check_says(schema, relaxed[i].good, true);
        check_says(schema, relaxed[i].bad, false);
        json_free(schema);
    }
}

TEST(schema_relaxes_what_it_cannot_honour_and_names_it)
{
    static const struct {
        const char *schema, *note, *good;
    } relaxed[] = {
        {"{\"type\":\"array\",\"uniqueItems\":true}", "schema.items: uniqueItems", "[1,1]"},
        {"{\"properties\":{\"p\":{\"type\":\"string\",\"pattern\":\"a(?=b)\"}}}",
         "schema.p: pattern with looking ahead or behind", "{\"p\":\"x\"}"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\bx\\\\b\"}", "schema: pattern with \\b", "\"q\""},
        {"{\"type\":\"string\",\"format\":\"regex\"}", "schema: format", "\"q\""},
        {"{\"type\":\"integer\",\"multipleOf\":5}", "schema: multipleOf", "3"},
        {"{\"$ref\":\"other.json\"}", "schema: $ref to elsewhere", "3"},
        {"{\"not\":{\"type\":\"null\"}}", "schema: not", "null"},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", "schema: oneOf (as anyOf)",
         "3"},
        {"{\"if\":{},\"then\":{}}", "schema: if", "3"},
        {"{\"type\":\"string\",\"pattern\":\"^a+$\",\"minLength\":3}",
         "schema: minLength and maxLength beside", "\"a\""},
        {"{\"type\":\"object\",\"minProperties\":2}", "schema: minProperties", "{\"x\":1,\"x\":2}"},
    };
    for (size_t i = 0; i < sizeof relaxed / sizeof *relaxed; i++) {
        struct buf notes = {0};
        struct json *schema = parse(relaxed[i].schema);
        struct grammar *g = kit_schema_grammar(schema, &notes);
        if (str_find(buf_view(&notes), str_of(relaxed[i].note), 0) == SIZE_MAX)
            test_fail(__FILE__, __LINE__, "%s: noted \"%.*s\", want \"%s\"", relaxed[i].schema,
                      STRF(buf_view(&notes)), relaxed[i].note);
        CHECK(kit_matches(g, str_of(relaxed[i].good)));
        grammar_free(g);
        json_free(schema);
        buf_free(&notes);
    }
}

TEST(schema_notes_nothing_when_all_is_honoured)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf notes = {0};
        struct json *schema = parse(cases[i].schema);
        grammar_free(kit_schema_grammar(schema, &notes));
        if (notes.n)
            test_fail(__FILE__, __LINE__, "%s: noted \"%.*s\"", cases[i].schema,
                      STRF(buf_view(&notes)));
        json_free(schema);
        buf_free(&notes);
    }
}

TEST(schema_objects_have_no_member_twice)
{
    struct json *schema = parse("{\"properties\":{\"a\":{},\"b\":{}},\"required\":[\"a\"]}");
    struct grammar *g = kit_schema_grammar(schema, NULL);
    static const char *const good[] = {"{\"a\":1}", "{\"b\":2,\"a\":1}", NULL};
    static const char *const bad[] = {"{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":1,\"a\":1}",
                                      "{\"a\":1,}", NULL};
    kit_check_matches(g, good, bad);
    grammar_free(g);
    json_free(schema);
}

/* A set takes 64 members; beyond, their order is the schema's. */
TEST(schema_objects_may_have_very_many_members)
{
    struct buf text = {0}, all = {0};
    struct err e = {0};
    buf_str(&text, STR("{\"type\":\"object\",\"properties\":{"));
    buf_str(&all, STR("{"));
    for (int i = 0; i < 100; i++) {
        buf_fmt(&text, "%s\"p%d\":{\"type\":\"integer\"}", i ? "," : "", i);
        buf_fmt(&all, "%s\"p%d\":%d", i ? "," : "", i, i);
    }
    buf_str(&text, STR("},\"required\":[\"p3\",\"p99\"],\"additionalProperties\":false}"));
    buf_str(&all, STR("}"));
    struct json *schema = json_parse(buf_view(&text), &e);
    struct grammar *g = kit_schema_grammar(schema, NULL);
    CHECK(kit_matches(g, buf_view(&all)));
    static const char *const good[] = {"{\"p3\":1,\"p99\":2}", "{\"p0\":1,\"p3\":1,\"p99\":2}",
                                       NULL};
    static const char *const bad[] = {"{}", "{\"p3\":1}", "{\"p3\":1,\"p3\":1,\"p99\":2}",
                                      "{\"p3\":\"x\",\"p99\":2}", NULL};
    kit_check_matches(g, good, bad);
    grammar_free(g);
    json_free(schema);
    buf_free(&text);
    buf_free(&all);
}

TEST(schema_survives_hostile_schemas)
{
    struct buf text = {0};
    struct err e = {0};
    /* Every union inside every other: 3^40 combinations. */
    for (int i = 0; i < 28; i++)
        buf_str(&text, STR("{\"anyOf\":[{\"minLength\":1},{\"type\":\"null\"},"));
    buf_str(&text, STR("{}"));
    for (int i = 0; i < 28; i++)
        buf_str(&text,
                STR("],\"allOf\":[{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}]}"));
    struct json *schema = json_parse(buf_view(&text), &e);
    CHECK(schema != NULL);
    struct grammar *g = grammar_new();
    struct schema_builder *b = schema_builder_open(g, NULL, 0);
    uint32_t root = grammar_rule(g);
    grammar_define(g, root, schema_builder_value(b, schema, schema, "s"));
    if (!grammar_compile(g, root, &e))
        CHECK_INT(e.code, ERR_LIMIT);
    schema_builder_close(b);
    grammar_free(g);
    json_free(schema);
    buf_free(&text);

    /* References that only go in circles allow nothing that they could say: any value. */
    schema = parse("{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":\"#/$defs/a\"}},"
                   "\"$ref\":\"#/$defs/a\"}");
    g = kit_schema_grammar(schema, NULL);
    CHECK(kit_matches(g, STR("[1]")));
    grammar_free(g);
    json_free(schema);
}

TEST(schema_that_allows_nothing_is_refused)
{
    static const char *const nothing[] = {
        "false",
        "{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}",
        "{\"type\":\"string\",\"const\":1}",
        "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#/$defs/n\"}},"
        "\"required\":[\"n\"]}},\"$ref\":\"#/$defs/n\"}",
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"required\":[\"c\"],"
        "\"minProperties\":4,\"maxProperties\":2}",
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"enum\":[]}},"
        "\"additionalProperties\":false,\"minProperties\":2}"};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        struct err e = {0};
        struct json *schema = parse(nothing[i]);
        struct grammar *g = grammar_new();
        struct schema_builder *b = schema_builder_open(g, NULL, 0);
        uint32_t root = grammar_rule(g);
        grammar_define(g, root, schema_builder_value(b, schema, schema, "s"));
        CHECK(!grammar_compile(g, root, &e));
        CHECK(strstr(e.msg, "no text matches") != NULL);
        schema_builder_close(b);
        grammar_free(g);
        json_free(schema);
    }
}
