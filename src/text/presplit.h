/* presplit: cuts text into the words that byte-pair merges never cross. Each rule set is the
 * regular expression of a tokenizer family, written as a scanner (shared spec "tokenizers" section
 * 4). Pure functions over a class table; bytes that are not UTF-8 count as characters of no class.
 */
#pragma once
#include <stddef.h>

#include "base/str.h"
#include "text/uclass.h"

enum presplit_rules {
    PRESPLIT_GPT2,   /* letters, numbers and the rest apart, each with one space before it */
    PRESPLIT_QWEN2,  /* any single character may lead a word; digits one by one */
    PRESPLIT_QWEN35, /* as QWEN2, with marks counted as letters */
    PRESPLIT_LLAMA3, /* as QWEN2, with up to three digits together (also GLM 4) */
    PRESPLIT_O200K   /* gpt-4o, gpt-oss: words also end where the case turns from low to high */
};

/* The end of the word that starts at byte `at` of text, at < text.n. Always > at. Words of one text
 * laid end to end are the text. Time is linear over all words of a text. */
size_t presplit_next(enum presplit_rules rules, const struct uclass *u, str text, size_t at);
