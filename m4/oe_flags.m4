# SPDX-License-Identifier: Apache-2.0
# OE_TRY_CFLAG(FLAG, VARIABLE): append FLAG to VARIABLE if the compiler takes it without a warning.
AC_DEFUN([OE_TRY_CFLAG], [
  AS_VAR_PUSHDEF([cachevar], [oe_cv_cflag_$1])
  AC_CACHE_CHECK([whether $CC accepts $1], [cachevar], [
    oe_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cachevar], [yes])], [AS_VAR_SET([cachevar], [no])])
    CFLAGS=$oe_saved_CFLAGS])
  AS_VAR_IF([cachevar], [yes], [$2="$$2 $1"])
  AS_VAR_POPDEF([cachevar])])

# OE_TRY_LDFLAG(FLAG, VARIABLE): the same for the linker. Not cached: a name made of a flag with commas is cut by m4.
AC_DEFUN([OE_TRY_LDFLAG], [
  AC_MSG_CHECKING([whether the linker accepts $1])
  oe_saved_LDFLAGS=$LDFLAGS
  LDFLAGS="$LDFLAGS -Werror $1"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes])
     $2="$$2 $1"],
    [AC_MSG_RESULT([no])])
  LDFLAGS=$oe_saved_LDFLAGS])

AC_DEFUN([OE_WARNINGS], [
  OE_WARN_CFLAGS=
  m4_foreach_w([flag], [-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wold-style-definition -Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wundef
    -Wcast-align -Wwrite-strings -Wpointer-arith -Wduplicated-cond -Wlogical-op],
    [OE_TRY_CFLAG(flag, [OE_WARN_CFLAGS])])
  AS_IF([test "x$enable_werror" = xyes], [OE_WARN_CFLAGS="$OE_WARN_CFLAGS -Werror"])
  # libev's watcher macros break strict aliasing; giving it up costs nothing measurable here.
  OE_LANG_CFLAGS="-std=gnu11 -fno-strict-aliasing"
  AC_SUBST([OE_WARN_CFLAGS])
  AC_SUBST([OE_LANG_CFLAGS])])

AC_DEFUN([OE_SANITIZER], [
  OE_SAN_CFLAGS=
  AS_IF([test "x$with_sanitizer" != xno], [
    OE_SAN_CFLAGS="-fsanitize=$with_sanitizer -fno-omit-frame-pointer -fno-sanitize-recover=all -g"])
  AS_IF([test "x$enable_fuzzers" = xyes], [OE_SAN_CFLAGS="$OE_SAN_CFLAGS -fsanitize=fuzzer-no-link"])
  AS_IF([test "x$enable_coverage" = xyes], [OE_SAN_CFLAGS="$OE_SAN_CFLAGS --coverage"])
  AC_SUBST([OE_SAN_CFLAGS])])

AC_DEFUN([OE_HARDENING], [
  OE_HARDEN_CFLAGS=
  OE_HARDEN_LDFLAGS=
  AS_IF([test "x$enable_hardening" = xyes], [
    m4_foreach_w([flag], [-fstack-protector-strong -fstack-clash-protection -fcf-protection
      -fstrict-flex-arrays=3 -ftrivial-auto-var-init=zero -fPIE],
      [OE_TRY_CFLAG(flag, [OE_HARDEN_CFLAGS])])
    m4_foreach([flag], [[-pie], [[-Wl,-z,relro]], [[-Wl,-z,now]], [[-Wl,-z,noexecstack]]],
      [OE_TRY_LDFLAG([flag], [OE_HARDEN_LDFLAGS])])
    # _FORTIFY_SOURCE needs optimisation and fights with the sanitizers.
    AS_IF([test "x$with_sanitizer" = xno], [AS_CASE([" $CFLAGS "], [*" -O0 "*], [],
      [*" -O"*], [OE_TRY_CFLAG([-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2], [OE_HARDEN_CFLAGS])])])])
  AC_SUBST([OE_HARDEN_CFLAGS])
  AC_SUBST([OE_HARDEN_LDFLAGS])])
