# tawny: one program, GNU make. `make help` lists the targets; MODE picks a build folder.
MODE ?= release
MODES := release debug asan tsan cov fuzz
ifeq ($(filter $(MODE),$(MODES)),)
$(error MODE=$(MODE) is not one of: $(MODES))
endif

CC     ?= cc
BUILD  := build/$(MODE)
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
          -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wdouble-promotion -Wno-sign-conversion \
          -Wimplicit-fallthrough -fno-common
CPPFLAGS += -Isrc -D_GNU_SOURCE -DTAWNY_VERSION='"$(shell cat VERSION)"'
OPT_release := -O2 -g
OPT_debug   := -O0 -g3
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_cov     := -O0 -g --coverage
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -DFUZZING
CFLAGS  += -std=gnu11 $(WARN) $(OPT_$(MODE)) $(if $(WERROR),-Werror) -pthread
LDFLAGS += $(OPT_$(MODE)) -pthread
PACKAGES := json-c libutf8proc libmicrohttpd libedit libzstd zlib
CPPFLAGS += $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LDLIBS  += $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')

SRC   := $(sort $(shell find src -name '*.c'))
TESTS := $(sort $(wildcard tests/unit/*.c tests/kit/*.c tests/fuzz/*.c)) tests/runner.c
FUZZ  := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
OBJ   := $(SRC:%.c=$(BUILD)/%.o)
LIB   := $(filter-out $(BUILD)/src/main.o,$(OBJ))

all: tawny ## build the program at ./tawny

tawny: $(BUILD)/tawny
	@cp -f $< $@

$(BUILD)/tawny: $(OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/unit-tests: $(TESTS:%.c=$(BUILD)/%.o) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

# Kernels are compiled for one instruction set each and chosen at run time: the file's suffix says which.
KERNEL_OPT_release := -O3
# Optimised, the portable one takes half a minute to build there: every lane's access is checked.
PORTABLE_OPT_asan := -O0
$(BUILD)/%_portable.o: ISA := $(KERNEL_OPT_$(MODE)) $(PORTABLE_OPT_$(MODE))
# Elsewhere these files are empty and the compiler does not know the options.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/%_avx2.o: ISA := $(KERNEL_OPT_$(MODE)) -mavx2 -mfma -mf16c
$(BUILD)/%_avx512.o: ISA := $(KERNEL_OPT_$(MODE)) -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mprefer-vector-width=512
endif

# The assembler embeds the shaders (.incbin), which the compiler's list of dependencies does not name.
$(BUILD)/src/compute/vulkan/vk_shaders.o: $(wildcard src/compute/vulkan/shaders/*.spv)

# The scalar formats are the truth, to the last bit on every machine: no fused multiply-add.
# Without -O3 gcc leaves the encoders' loops scalar.
$(BUILD)/src/gguf/block%.o: ISA := -ffp-contract=off $(if $(filter release,$(MODE)),-O3)

$(BUILD)/src/text/chat_builtin.o: $(wildcard src/text/builtin/*.jinja)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(ISA) -Itests -MMD -MP -c -o $@ $<

-include $(OBJ:.o=.d) $(TESTS:%.c=$(BUILD)/%.d) $(wildcard $(BUILD)/bench/*.d)

demo: ## install what is missing, build, run one conversation with a tool call
	@tools/install-deps demo
	@$(MAKE) --no-print-directory $(JOBS) tawny
	@python3 tools/demo

# As many compilers as cores, where a target builds by itself and nobody said -j.
JOBS := $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# What `make check` runs; each prints "N passed, N failed, N skipped".
SUITES := check-static unit check-cli check-golden check-api check-demo check-calls check-agree-few
check: ## install what is missing, build, run all tests
	@tools/install-deps check
	@$(MAKE) --no-print-directory $(JOBS) tawny build/release/unit-tests
	@tools/check $(SUITES)

check-sanitizers: ## the unit tests under ASan+UBSan and under TSan
	@tools/install-deps check
	@tools/check unit-asan unit-tsan

unit-%:
	@$(MAKE) --no-print-directory $(JOBS) MODE=$* unit

check-static: ## layers, formatting, file and function lengths
	@tools/check-static

check-api: tawny ## the HTTP interface with the real openai and Anthropic clients (needs node)
	@tests/api/run

RUNS ?= 1
AGENT ?=
check-agents: tawny ## the real coding agents from npm against the demo model (RUNS=N each, AGENT=name,...; needs npm)
	@tests/agents/check --runs $(RUNS) $(if $(AGENT),--agent $(AGENT))

SAMPLE ?= 0
check-demo: tawny ## the demo model's held-out requests over HTTP (SAMPLE=N: N a suite; 0: all)
	@python3 tests/demo/check --sample $(SAMPLE)

PROMPTS ?= 200
TOKENS ?= 16
check-agree: tawny ## cpu and vulkan write the same: the held-out requests' words as prompts (PROMPTS=N, TOKENS=N, DEVICE=name; LONG=1: all of them)
	@python3 tests/demo/agree --prompts $(PROMPTS) --tokens $(TOKENS) $(if $(LONG),,--short) $(if $(DEVICE),--device $(DEVICE))

check-agree-few:
	@$(MAKE) --no-print-directory check-agree PROMPTS=8 TOKENS=8

CALLS ?= 50
check-calls: tawny ## calls that constraints make the demo model and random weights write, judged by jsonschema (CALLS=N)
	@python3 tests/calls/check --at-once 4 --calls $(CALLS) $(if $(TOOLS),--tools $(TOOLS))
	@python3 tests/calls/check --at-once 4 --calls $(CALLS) $(if $(TOOLS),--tools $(TOOLS)) --random-weights \
	    --template src/text/builtin/hermes.jinja

check-calls-full: ## the same with 10,000 calls each (TOOLS=file for others than those of bench/mask.json)
	@$(MAKE) --no-print-directory check-calls CALLS=10000

MINUTES ?= 10
CLIENTS ?= 50
soak: tawny ## many clients with random requests and aborts, every answer checked, for MINUTES (SEED=N repeats; needs node)
	@tests/soak/run --minutes $(MINUTES) --clients $(CLIENTS) $(if $(SEED),--seed $(SEED))

DEVICE ?=
soak-gpu: tawny ## the same for the vulkan backend on DEVICE=name, memory and validation messages too, for MINUTES (needs no node)
	@tests/soak/gpu --minutes $(MINUTES) $(if $(DEVICE),--device $(DEVICE)) $(if $(SEED),--seed $(SEED))

check-golden: $(BUILD)/tawny $(BUILD)/unit-tests ## transcripts of every protocol, to the byte (tests/golden/run --update writes them)
	@tests/golden/run $(BUILD)

check-cli: $(BUILD)/tawny $(BUILD)/unit-tests ## the command line: golden tests, run on a terminal, launch with agents that only print
	@tests/cli/run $(BUILD)
	@tests/cli/interactive $(BUILD)
	@tests/cli/launch $(BUILD)

unit: $(BUILD)/unit-tests ## build and run the unit tests (T=text filters)
	@$(BUILD)/unit-tests $(if $(T),--filter $(T))

# New inputs are kept in build/fuzz/corpus; what breaks a target is left in build/fuzz. What libFuzzer learns from
# comparisons holds addresses, which differ between runs: with a seed it does without, so that the inputs are the same.
FUZZ_SECONDS ?= 60
FUZZ_SEED    ?=
fuzz: $(FUZZ:%=fuzz-%) ## run every fuzz target for FUZZ_SECONDS (FUZZ_SEED=N repeats); `make fuzz-NAME` runs one
fuzz-%:
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang build/fuzz/fuzz_$*
	@mkdir -p build/fuzz/corpus/$*
	build/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
	    $(if $(FUZZ_SEED),-seed=$(FUZZ_SEED) -use_cmp=0 -reload=0) \
	    -malloc_limit_mb=16 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/$*- \
	    build/fuzz/corpus/$* tests/fuzz/corpus/$*

$(BUILD)/bench_%: $(BUILD)/bench/bench_%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# As few libraries as it needs: it runs beside other versions of them.
$(BUILD)/bench_isa: $(BUILD)/bench/bench_isa.o $(BUILD)/lib.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(LDLIBS)

$(BUILD)/lib.a: $(LIB)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

RADV ?=
LLAMA_BENCH ?=
isa: $(BUILD)/bench_isa tawny ## write docs/isa.md: what RADV makes of the shaders (RADV=command that finds it)
	@LLAMA_BENCH=$(LLAMA_BENCH) bench/isa $< $(RADV)

bench-tok: $(BUILD)/bench_tok ## tokenizer speed on source code (M="FILE..." for other vocabularies)
	@bench/tok $< $(M)

bench-mask: $(BUILD)/bench_mask ## cost of constraints (V=vocabulary.gguf, M=replies.json for others than bench/mask.json)
	@$< $(V) $(M)

bench-cpu: $(BUILD)/bench_cpu ## kernels of the cpu backend: GB/s and GMAC/s per type (T=threads)
	@$< $(T)

bench-block: $(BUILD)/bench_block ## speed and error of the block types' scalar code
	@$<

bench-render: $(BUILD)/bench_render ## rendering a conversation of 100,000 tokens (T="TEMPLATE.jinja...")
	@$< $(T)

layers: ## check that no room includes what layers.txt forbids
	@tools/check-layers layers.txt $$(find src -name '*.[ch]')

GLSLC ?= glslc
spirv: ## compile the shaders to the SPIR-V that is committed beside them (GLSLC=command)
	@tools/spirv $(GLSLC)

fmt: ## format all C files (clang-format 14)
	clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove everything that was built
	rm -rf build tawny compile_commands.json

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: all demo soak soak-gpu check check-sanitizers check-static check-cli check-golden check-api check-agents check-demo check-agree check-agree-few check-calls check-calls-full unit fuzz bench-tok bench-mask bench-cpu bench-block bench-render isa layers spirv fmt clean help
.SECONDARY:
