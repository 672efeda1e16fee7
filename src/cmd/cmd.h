/* cmd: the subcommands. The only room that prints, reads the environment or decides exit statuses:
 * 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
#pragma once

/* Runs the subcommand that argv names; returns the exit status. */
int cmd_main(int argc, char **argv);

/* One function per subcommand, in a file of its own (src/cmd/cmd_NAME.c). argv[0] is the
 * subcommand's name. */
int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_launch(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_synth(int argc, char **argv);
int cmd_debug(int argc, char **argv);
