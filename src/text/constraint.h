/* constraint: a grammar at work on a reply. A constraint is made once and used by many replies (a
 * client sends the same tools again and again, and masks stay known); each reply has a run of its
 * own. Where the grammar is one of free text with calls in it, code in the text (chat.h) is left
 * alone: the parser sees no calls there.
 *
 * constraint_ref and constraint_unref: any thread. All else: the thread that runs the grammar, one
 * at a time for a constraint. */
#pragma once
#include "base/err.h"
#include "text/grammar.h"
#include "text/mask.h"

struct constraint;
/* Takes g over, compiled. v: borrowed, outlives the constraint. skips_code: a text that may end is
 * free text, and code in it is not constrained. */
struct constraint *constraint_new(struct grammar *g, const struct mask_vocab *v, bool skips_code);
struct constraint *constraint_ref(struct constraint *c);
void constraint_unref(struct constraint *c);

/* A reply. Zero-initialised and not begun, it constrains nothing. */
struct constraint_run;
/* Holds a reference. NULL for NULL. */
struct constraint_run *constraint_begin(struct constraint *c);
/* Which tokens may come next. *mask: valid until the next call; NULL: any. False: the grammar is
 * too ambiguous to be followed, or no token of the vocabulary fits. */
bool constraint_mask(struct constraint_run *r, const struct token_mask **mask, struct err *e);
/* The token that came. False: it may not come here. */
bool constraint_accept(struct constraint_run *r, int32_t id, struct err *e);
void constraint_end(struct constraint_run *r);
