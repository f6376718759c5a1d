# SPDX-License-Identifier: MIT
# Builds grun. Read from top to bottom; `make help` lists the targets.

# ---- what a user may set: make CC=clang CFLAGS=-O3 PREFIX=/usr DESTDIR=/tmp/stage V=1
PREFIX  ?= /usr/local
DESTDIR ?=
CFLAGS  ?=
LDFLAGS ?=
BUILD   ?= release

VARIANT_release  := -O2
VARIANT_asan     := -O1 -fsanitize=address,undefined -fno-omit-frame-pointer -DGR_ASAN
VARIANT_valgrind := -O1 -DGR_VALGRIND
VARIANT_lint     := -O2
ifndef VARIANT_$(BUILD)
$(error BUILD is release, asan, valgrind or lint)
endif

# ---- files
B    := build/$(BUILD)
OUT  := $(if $(filter release,$(BUILD)),grun,$(B)/grun)
ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))

SRC     := $(wildcard runtime/*/*.c runtime/*.c) runtime/core/switch_$(ARCH).S
LUA     := $(sort $(shell find lualib/grun -name '*.lua' 2>/dev/null))
META    := $(sort $(wildcard lualib/meta/*.lua))
EXPORTS := runtime/posix/export.list
# What the reference of `grun doc` and `make doc` is made by, besides annotations.
REFERENCE := $(wildcard scripts/reference/*.lua)
EXAMPLES  := $(sort $(wildcard scripts/examples/*.lua))
# libc's names among the exported ones, see posix/next.c.
LIBC_NAMES := $(shell sed -n '/lua/d; s/^[[:space:]]\([a-z_0-9]*\);$$/\1/p' $(EXPORTS))

OBJ      := $(patsubst %,$(B)/%.o,$(basename $(SRC))) $(B)/lualib.o
CORE_OBJ := $(filter $(B)/runtime/core/%,$(OBJ))
# What only computes: parsers and formats.
PURE_SRC := $(patsubst %,runtime/net/%.c,addr textfile hosts resolvconf dnsmsg dnswrite dnsanswer dnscache) \
	$(wildcard runtime/http/*.c) $(patsubst %,runtime/bind/%.c,libz ws_deflate ws_frame ws_message)
TESTS    := $(patsubst %.c,$(B)/%,$(wildcard spec/c/*_test.c))
FUZZERS  := $(patsubst spec/c/%_fuzz.c,%,$(wildcard spec/c/*_fuzz.c))

# ---- flags: ours first, so that the user's CFLAGS win where both speak
LUAJIT_CFLAGS := $(shell pkg-config --cflags luajit 2>/dev/null)
LUAJIT_LIBS   := $(shell pkg-config --libs luajit 2>/dev/null)

ALL_CFLAGS := -std=gnu11 $(VARIANT_$(BUILD)) -g -fexceptions -pthread -Iruntime $(LUAJIT_CFLAGS) \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror) $(CPPFLAGS) $(CFLAGS)
# libev goes in hidden: its libevent-compatible names would capture the calls of modules that use libevent.
LIBEV       := -l:libev.a -Wl,--exclude-libs,ALL
LIBS        := $(LUAJIT_LIBS) $(LIBEV) -lcares -lm -ldl
ALL_LDFLAGS := $(EXPORTS:%=-Wl,--dynamic-list=%) $(LIBC_NAMES:%=-Wl,--wrap=%) $(LDFLAGS)

Q := $(if $(V),,@)
# In the recipes that call make again: all processors, unless the user said how many.
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SECONDARY:

# ---- build
.PHONY: all objects tests
all: $(OUT) ## build ./grun (the default)
objects: $(OBJ) $(TESTS:=.o)
tests: $(TESTS)

$(OUT): $(OBJ) $(EXPORTS)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJ) $(LIBS)

define compile
@mkdir -p $(@D)
@echo "  CC    $<"
$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
endef

$(B)/%.o: %.c $(B)/flags
	$(compile)
$(B)/%.o: %.S $(B)/flags
	$(compile)
$(B)/lualib.o: $(B)/lualib.c $(B)/flags
	$(compile)

# The list is a prerequisite so that a removed file counts as a change too.
$(B)/lualib.c: scripts/embed.lua $(LUA) $(B)/lualib.list $(B)/reference.lua
	@echo "  EMBED lualib/grun"
	$(Q)luajit scripts/embed.lua $@ lualib $(LUA) grun.reference=$(B)/reference.lua

$(B)/reference.lua: $(REFERENCE) $(LUA) $(META) $(EXAMPLES) $(B)/lualib.list
	@echo "  DOC   $@"
	$(Q)luajit scripts/reference/generate.lua $@ $(META) $(LUA) $(EXAMPLES)

# The core's tests see the core alone, which keeps it free of everything above; the others see the parsers too.
$(B)/spec/c/core%: $(B)/spec/c/core%.o $(CORE_OBJ)
	$(link_test)
$(B)/spec/c/%: $(B)/spec/c/%.o $(CORE_OBJ) $(PURE_SRC:%.c=$(B)/%.o)
	$(link_test)
define link_test
@echo "  LINK  $@"
$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBEV) -lm
endef

# Files that change only when what they hold changes: other flags or another set of files build anew.
.PHONY: always
$(B)/flags: TEXT = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS)
$(B)/lualib.list: TEXT = $(LUA)
$(B)/flags $(B)/lualib.list: always
	@mkdir -p $(@D)
	@echo '$(TEXT)' | cmp -s - $@ || echo '$(TEXT)' >$@

-include $(OBJ:.o=.d) $(TESTS:=.d)

# ---- use
.PHONY: run test check lint bench
run: ## install what is missing, build, show an echo server with three clients
	@scripts/setup
	@$(MAKE) $(PARALLEL) all
	@scripts/demo

test: ## install what is missing, build, run every test
	@scripts/setup
	@$(MAKE) $(PARALLEL) check

check: all tests ## run every test without installing anything (SPEC=spec/x_spec.lua: one file)
	@GRUN=$(OUT) SPEC='$(SPEC)' scripts/test $(TESTS)

lint: ## layering, warnings as errors, cppcheck, clang-tidy, luacheck
	@scripts/lint

bench: all ## measure against other runtimes (scripts/setup --bench installs them): build/bench/report.md
	@scripts/bench/run

# ---- the same under other tools
.PHONY: asan asan-test valgrind valgrind-test fuzz fuzz-one test-c
asan: ## build build/asan/grun with AddressSanitizer and UBSan
	@$(MAKE) $(PARALLEL) BUILD=asan all

asan-test: ## run every test with it
	@ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
		SPEC_LIMIT=1800 $(MAKE) $(PARALLEL) BUILD=asan check

valgrind: ## build build/valgrind/grun, which tells valgrind about its stacks
	@$(MAKE) $(PARALLEL) BUILD=valgrind all

valgrind-test: ## run the C tests under valgrind
	@WRAP='valgrind --error-exitcode=1 -q' C_LIMIT=300 $(MAKE) $(PARALLEL) BUILD=valgrind test-c

FUZZ_SECONDS ?= 60
FUZZ ?= $(FUZZERS)
fuzz: ## fuzz the parsers with libFuzzer, FUZZ_SECONDS each (default 60; FUZZ=addr: one of them)
	@for name in $(FUZZ); do $(MAKE) fuzz-one NAME=$$name || exit 1; done

fuzz-one:
	@mkdir -p build/fuzz/corpus/$(NAME)
	@echo "  FUZZ  $(NAME)"
	$(Q)clang -std=gnu11 -O1 -g -Iruntime -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o build/fuzz/$(NAME) spec/c/$(NAME)_fuzz.c $(PURE_SRC) runtime/core/error.c
	$(Q)build/fuzz/$(NAME) -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 build/fuzz/corpus/$(NAME)

test-c: tests
	@GRUN= scripts/test $(TESTS)

# ---- the reference
.PHONY: doc
doc: ## write the reference as HTML into build/doc
	@mkdir -p build/doc
	@echo "  DOC   build/doc/index.html"
	$(Q)luajit scripts/reference/generate.lua build/doc/ $(META) $(LUA) $(EXAMPLES)

# ---- install
.PHONY: install uninstall deb clean help
COMPLETIONS := build/completions
$(COMPLETIONS)/_grun: scripts/completions.lua lualib/grun/main.lua $(OUT)
	@mkdir -p $(@D)
	@echo "  GEN   $(@D)"
	$(Q)luajit scripts/completions.lua $(@D) ./$(OUT)

install: all $(COMPLETIONS)/_grun ## put the program, its manual page, completions and examples below $(DESTDIR)$(PREFIX)
	@scripts/install/install $(OUT) $(COMPLETIONS) '$(DESTDIR)' '$(PREFIX)'

uninstall: ## remove them from there
	@scripts/install/install --remove '$(DESTDIR)' '$(PREFIX)'

deb: all $(COMPLETIONS)/_grun ## build a Debian package in build/
	@scripts/install/deb $(OUT) $(COMPLETIONS) build

clean: ## remove everything built
	rm -rf build grun

help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
