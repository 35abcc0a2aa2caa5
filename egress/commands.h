/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of openshell-egress. argv[0] is the command's name; each returns the exit status. */
#pragma once

/* 0 clean (warnings do not change it), 1 errors, 2 usage. */
int command_check(int argc, char **argv);
/* 0 written, 1 errors, 2 usage, 71 the result could not be written. */
int command_export(int argc, char **argv);
/* 0 allowed, 1 denied, 2 error or, with --live, allowed but not reachable. */
int command_explain(int argc, char **argv);
/* 0 done, 64 usage, 71 a command failed, 78 policy. */
int command_capture(int argc, char **argv);
/* Does not return once COMMAND runs; 64 usage, 71 a socket, 126 or 127 COMMAND. */
int command_listen(int argc, char **argv);
/* 0 every target can be reached, 1 not, 64 usage, 71 the system refused something, 78 policy. */
int command_doctor(int argc, char **argv);
/* COMMAND's status; 64, 71 or 78 before it started. */
int command_run(int argc, char **argv);
