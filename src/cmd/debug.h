/* debug: one file per kind of `tawny debug KIND`. Each takes argv from its own name on and returns
 * the exit status. */
#pragma once

int debug_logits(int argc, char **argv);
int debug_parse(int argc, char **argv);
int debug_render(int argc, char **argv);
int debug_tokens(int argc, char **argv);
