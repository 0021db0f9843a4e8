# SPDX-License-Identifier: GPL-2.0-only
# Makefile - builds, checks and installs Sentinel; `make help` prints the targets.
#
# Sources are found by wildcard: adding a file edits nothing here.  Each folder of userspace/ becomes one
# static archive, so that a unit test links exactly what its folder's .may_include allows.

CC := gcc
CLANG ?= clang
BPFTOOL ?= $(or $(shell command -v bpftool),/usr/sbin/bpftool)
LLVM_STRIP ?= llvm-strip
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

ifeq ($(V),1)
Q :=
msg :=
else
Q := @
msg = @printf '  %-8s %s\n' '$(1)' '$(2)';
endif

# --- variant: one folder of objects for each combination of CC, SAN and DEBUG -------------------------------

comma := ,
empty :=
space := $(empty) $(empty)
is_clang := $(findstring clang,$(notdir $(CC)))
san_names := $(subst $(comma), ,$(SAN))
kind := $(if $(SAN),$(subst $(comma),-,$(SAN)),$(if $(filter 1,$(DEBUG)),debug,release))
VARIANT := $(if $(is_clang),clang-)$(kind)$(if $(SAN),$(if $(filter 1,$(DEBUG)),-debug))
BUILD ?= build
O := $(BUILD)/$(VARIANT)

# Zero is a valid state here: rows of tables leave their last fields out on purpose.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Werror \
	-Wno-missing-field-initializers
CPPFLAGS := -D_GNU_SOURCE= -Iuserspace -Iinclude -I$(BUILD)/gen -I$(BUILD)/bpf
CFLAGS := -std=gnu11 -g -fPIE -fno-strict-aliasing -fstack-protector-strong -pthread $(WARNINGS)
LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed

ifeq ($(DEBUG),1)
CFLAGS += -Og -fno-omit-frame-pointer
CPPFLAGS += -DDEBUG=1
else ifneq ($(SAN),)
CFLAGS += -O1 -fno-omit-frame-pointer
else
CFLAGS += -O2
CPPFLAGS += -D_FORTIFY_SOURCE=2
endif

ifneq ($(SAN),)
CFLAGS += -fsanitize=$(SAN) $(if $(filter undefined,$(san_names)),-fno-sanitize-recover=undefined)
LDFLAGS += -fsanitize=$(subst fuzzer-no-link$(comma),,$(SAN))
endif
# gcc warns at every atomic_thread_fence that TSan does not model them; base/ annotates those that matter.
CFLAGS += $(if $(filter thread,$(san_names)),$(if $(is_clang),,-Wno-tsan))

# --- dependencies ----------------------------------------------------------------------------------------------

# pkg-config name : Debian package
DEPENDENCIES := liburing:liburing-dev libbpf:libbpf-dev libxdp:libxdp-dev libpcre2-8:libpcre2-dev \
	libcares:libc-ares-dev openssl:libssl-dev libnghttp2:libnghttp2-dev libmaxminddb:libmaxminddb-dev \
	hiredis:libhiredis-dev
pkg_names := $(foreach d,$(DEPENDENCIES),$(firstword $(subst :, ,$(d))))

# These goals need no library: they install them, or only read text.
TEXT_GOALS := help clean uninstall bootstrap run test check-all check-tools layers style docs lint
needs_libraries := $(if $(MAKECMDGOALS),$(filter-out $(TEXT_GOALS),$(MAKECMDGOALS)),all)
# Nor do these need what only tests use.
needs_cmocka := $(filter-out all bpf bench install globals $(TEXT_GOALS),$(MAKECMDGOALS))

LLHTTP_DIR ?= /usr/share/llhttp
LLHTTP_CFLAGS := -I/usr/share/include/llhttp

ifneq ($(needs_libraries),)
ifeq ($(shell command -v $(PKG_CONFIG)),)
$(error missing: $(PKG_CONFIG) (Debian package pkg-config; tools/bootstrap installs everything))
endif
missing := $(shell for d in $(DEPENDENCIES) $(if $(needs_cmocka),cmocka:libcmocka-dev); do \
	$(PKG_CONFIG) --exists $${d%%:*} || echo $$d | cut -d: -f2; done; \
	test -r $(LLHTTP_DIR)/llhttp.c || echo node-llhttp; \
	command -v $(firstword $(CC)) >/dev/null || echo $(notdir $(firstword $(CC))); \
	command -v $(CLANG) >/dev/null || echo clang; \
	command -v $(LLVM_STRIP) >/dev/null || echo llvm; \
	test -x $(BPFTOOL) || echo bpftool)
ifneq ($(strip $(missing)),)
$(error missing Debian package(s): $(strip $(missing)) (tools/bootstrap installs them))
endif
CPPFLAGS += $(LLHTTP_CFLAGS) $(shell $(PKG_CONFIG) --cflags $(pkg_names))
LDLIBS := $(shell $(PKG_CONFIG) --libs $(pkg_names)) -lm
CMOCKA_LIBS := $(if $(needs_cmocka),$(shell $(PKG_CONFIG) --libs cmocka))
endif

# --- sources -----------------------------------------------------------------------------------------------------

FOLDERS := $(patsubst userspace/%/,%,$(wildcard userspace/*/))
sources_of = $(wildcard userspace/$(1)/*.c userspace/$(1)/*/*.c)
objects_of = $(patsubst %.c,$(O)/%.o,$(call sources_of,$(1)))
archive_of = $(patsubst %,$(O)/lib%.a,$(1))

# closure(folders): the folders themselves and, through .may_include, all that they may use.
allowed_of = $(filter $(FOLDERS),$(foreach f,$(1),$(allowed_$(f))))
closure = $(if $(filter-out $(1),$(call allowed_of,$(1))),$(call \
	closure,$(sort $(1) $(call allowed_of,$(1)))),$(sort $(1)))
# includes(files): folders of userspace/ that the files include by name.
includes = $(filter $(FOLDERS),$(sort $(shell sed -n 's|^\#include "\([a-z]*\)/.*|\1|p' $(1))))

$(foreach f,$(FOLDERS),$(eval allowed_$(f) := $$(shell \
	sed 's/\#.*//' userspace/$(f)/.may_include 2>/dev/null)))

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
SKELETONS := $(patsubst bpf/%.bpf.c,$(BUILD)/bpf/%.skel.h,$(BPF_SOURCES))
UNIT_SOURCES := $(wildcard selftests/unit/*/test_*.c selftests/unit/*/*/test_*.c)
UNIT_PROGRAMS := $(patsubst %.c,$(O)/%,$(UNIT_SOURCES))
UNIT_FOLDERS := $(sort $(foreach s,$(UNIT_SOURCES),$(word 3,$(subst /, ,$(s)))))
# Only where the kernel has what they test: in vmtest/.
VM_TEST_SOURCES := $(wildcard selftests/vm/test_*.c)
VM_TEST_PROGRAMS := $(patsubst %.c,$(O)/%,$(VM_TEST_SOURCES))
BPF_TEST_SOURCES := $(wildcard selftests/bpf/test_*.c)
BPF_TEST_PROGRAMS := $(patsubst %.c,$(O)/%,$(BPF_TEST_SOURCES))
# Programs that tests load as somebody else's.
BPF_TEST_OBJECTS := $(patsubst selftests/bpf/%.bpf.c,$(BUILD)/bpf/%.bpf.o,$(wildcard selftests/bpf/*.bpf.c))
FUZZ_SOURCES := $(wildcard selftests/fuzz/fuzz_*.c)
FUZZ_NAMES := $(patsubst selftests/fuzz/fuzz_%.c,%,$(FUZZ_SOURCES))
REPLAY_PROGRAMS := $(patsubst %,$(O)/selftests/fuzz/replay_%,$(FUZZ_NAMES))

# --- building ----------------------------------------------------------------------------------------------------

.PHONY: all
all: $(O)/sentinel ## build build/<variant>/sentinel (CC=clang SAN=address,undefined|thread DEBUG=1 V=1)
ifeq ($(VARIANT),release)
	@ln -sfn release/sentinel $(BUILD)/sentinel
endif

$(O)/sentinel: $(O)/userspace/main.o $(call archive_of,$(FOLDERS)) $(O)/libllhttp.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call msg,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/selftests/%.o: CPPFLAGS += -Iselftests

# One rule an archive: `ar` starts anew, so that a removed source leaves no object behind.
define archive_rule
$(O)/lib$(1).a: $(call objects_of,$(1)) $(BUILD)/lists/$(1)
	@mkdir -p $$(@D)
	$$(call msg,AR,$$@)
	$$(Q)rm -f $$@ && $(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(FOLDERS),$(eval $(call archive_rule,$(f))))

# The list of a folder's objects changes when a file comes or goes: then the archive is made again.
.PHONY: FORCE
$(BUILD)/lists/%: FORCE
	@mkdir -p $(@D)
	@echo '$(call sources_of,$*)' | cmp -s - $@ || echo '$(call sources_of,$*)' > $@

$(O)/llhttp/%.o: $(LLHTTP_DIR)/%.c
	@mkdir -p $(@D)
	$(call msg,CC,$<)
	$(Q)$(CC) -O2 -g -fPIE -w $(if $(SAN),-fsanitize=$(SAN)) -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CFLAGS) -c -o $@ $<

$(O)/libllhttp.a: $(O)/llhttp/llhttp.o $(O)/llhttp/api.o $(O)/llhttp/http.o
	$(call msg,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# $(BUILD)/gen/version.h: rewritten only when the version changes.
VERSION := $(or $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null | sed 's/^v//'),0.1.0)
$(BUILD)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@printf '#define SENTINEL_VERSION "%s"\n' '$(VERSION)' | cmp -s - $@ || \
		printf '#define SENTINEL_VERSION "%s"\n' '$(VERSION)' > $@
$(call objects_of,app) $(call objects_of,proxy) $(call objects_of,observe) $(O)/userspace/main.o: \
	| $(BUILD)/gen/version.h

# --- BPF ---------------------------------------------------------------------------------------------------------

MULTIARCH := $(shell $(firstword $(CC)) -print-multiarch 2>/dev/null || echo $(shell uname -m)-linux-gnu)
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -Wall -Werror -Iinclude -Ibpf -I/usr/include/$(MULTIARCH)

define bpf_rule
$(BUILD)/bpf/%.bpf.o: $(1)/%.bpf.c
	@mkdir -p $$(@D)
	$$(call msg,BPF,$$<)
	$$(Q)$$(CLANG) $$(BPF_CFLAGS) -MMD -MP -MT $$@ -MF $$(@:.o=.d) -c -o $$@ $$<
	$$(Q)$$(LLVM_STRIP) -g $$@
endef
$(eval $(call bpf_rule,bpf))
$(eval $(call bpf_rule,selftests/bpf))
$(eval $(call bpf_rule,selftests/bench))

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call msg,SKEL,$@)
	@# libbpf tells of sections that only libxdp reads: nobody wants to know unless it fails
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@ 2> $@.log || { cat $@.log; exit 1; }

.PHONY: bpf
bpf: $(SKELETONS) ## build only the BPF objects and skeletons

$(call objects_of,fastpath) $(patsubst %,%.o,$(BPF_TEST_PROGRAMS)): | $(SKELETONS)
$(patsubst selftests/%,$(O)/selftests/%,$(patsubst %.c,%.o,$(filter selftests/unit/fastpath/%,$(UNIT_SOURCES)))): \
	| $(SKELETONS)

# --- unit, packet and fuzz tests ---------------------------------------------------------------------------------

# Objects that several tests share; a test pulls what it names.
SELFTEST_LIB := $(patsubst %.c,$(O)/%.o,$(wildcard selftests/lib/*.c))
$(O)/libselftest.a: $(SELFTEST_LIB)
	@mkdir -p $(@D)
	$(call msg,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# link_rule(program, source, folders, more objects)
define link_rule
$(1): $(patsubst %.c,$(O)/%.o,$(2)) $(4) $(O)/libselftest.a $(call archive_of,$(call closure,$(3))) \
		$(O)/libllhttp.a
	$$(call msg,LINK,$$@)
	$$(Q)$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) \
		-Wl,--end-group $$(CMOCKA_LIBS) $$(LDLIBS)
endef
$(foreach s,$(UNIT_SOURCES),$(eval $(call link_rule,$(patsubst %.c,$(O)/%,$(s)),$(s),$(word 3,$(subst \
	/, ,$(s))))))
$(foreach s,$(VM_TEST_SOURCES),$(eval $(call link_rule,$(patsubst %.c,$(O)/%,$(s)),$(s),$(call includes,$(s)))))
$(foreach s,$(BPF_TEST_SOURCES),$(eval $(call link_rule,$(patsubst %.c,$(O)/%,$(s)),$(s),$(call includes,$(s)))))
$(foreach n,$(FUZZ_NAMES),$(eval $(call link_rule,$(O)/selftests/fuzz/replay_$(n),selftests/fuzz/fuzz_$(n).c,$(call \
	includes,selftests/fuzz/fuzz_$(n).c),$(O)/selftests/lib/replay/main.o)))

.PHONY: unit $(addprefix unit-,$(UNIT_FOLDERS))
unit: $(UNIT_PROGRAMS) ## run all unit tests of this variant
	@tools/run-unit $(UNIT_PROGRAMS)

define unit_rule
unit-$(1): $(filter $(O)/selftests/unit/$(1)/%,$(UNIT_PROGRAMS)) ## run the unit tests of one folder
	@tools/run-unit $$^
endef
$(foreach f,$(UNIT_FOLDERS),$(eval $(call unit_rule,$(f))))

unit-%:
	@echo 'no unit tests in selftests/unit/$*'; exit 1

.PHONY: fuzz-replay
fuzz-replay: $(REPLAY_PROGRAMS) ## run every corpus through its fuzz target, without libFuzzer
	@tools/run-replay $(REPLAY_PROGRAMS)

# `make fuzz T=kdl` starts make again with clang; FUZZ_SECONDS bounds the run.
FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: ## libFuzzer on one target: T=name FUZZ_SECONDS=60
	@test -n '$(T)' || { echo 'usage: make fuzz T=<$(subst $(space),|,$(FUZZ_NAMES))>'; exit 1; }
	@mkdir -p selftests/fuzz/corpus/$(T) $(BUILD)/fuzz
	+$(Q)$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined fuzz-program-$(T)
	$(Q)mkdir -p $(BUILD)/fuzz/$(T) && $(BUILD)/clang-fuzzer-no-link-address-undefined/selftests/fuzz/fuzzer_$(T) \
		-max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/fuzz/$(T)- $(BUILD)/fuzz/$(T) selftests/fuzz/corpus/$(T)

define fuzz_rule
.PHONY: fuzz-program-$(1)
fuzz-program-$(1): $(O)/selftests/fuzz/fuzzer_$(1)
$(O)/selftests/fuzz/fuzzer_$(1): LDFLAGS += -fsanitize=fuzzer
$(call link_rule,$(O)/selftests/fuzz/fuzzer_$(1),selftests/fuzz/fuzz_$(1).c,$(call \
	includes,selftests/fuzz/fuzz_$(1).c))
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_rule,$(n))))

# --- checks ------------------------------------------------------------------------------------------------------

.PHONY: layers style docs lint globals check check-tools check-bpf check-vm check-integration test check-all
layers: ## check that no folder includes what its .may_include does not allow
	@tools/check-layers
style: ## check the house style
	@tools/check-style
docs: ## check that the generated manual is fresh and that links lead somewhere
	@tools/check-docs $(wildcard $(O)/sentinel)
lint: layers style ## everything that reads text only

check-tools: ## prove that the checks see what they are there to see
	@selftests/tools/run
globals: all ## check that no global of ours hides one of a library
	@tools/check-globals $(O)/sentinel

check: unit layers style check-tools fuzz-replay all globals ## unit + layers + style + docs + fuzz corpora: under a minute, no root
	@tools/check-docs $(O)/sentinel

check-bpf: $(BPF_TEST_PROGRAMS) $(BPF_TEST_OBJECTS) ## load every BPF program and run the packet tables (root)
	@SENTINEL_TEST_JOBS=1 tools/run-unit $(BPF_TEST_PROGRAMS)

VM_FOLDERS := $(sort $(shell sed -n 's/^[a-z].*[[:blank:]]unit \([^[:blank:]]*\).*/\1/p' vmtest/suites.txt))
VM_PROGRAMS := $(filter $(foreach f,$(VM_FOLDERS),$(O)/selftests/$(f)/%),$(UNIT_PROGRAMS) \
	$(VM_TEST_PROGRAMS) $(BPF_TEST_PROGRAMS))
check-vm: all $(VM_PROGRAMS) $(BPF_TEST_OBJECTS) ## the suites of vmtest/ in Debian's kernels, emulated: KERNEL=6.1 SUITE=bpf
	@vmtest/run --build $(O) $(addprefix --kernel ,$(KERNEL)) $(addprefix --suite ,$(SUITE))

JOBS ?= 4
check-integration: all ## the real binary against real clients and origins (root for the guard's part)
	@selftests/integration/run --binary $(abspath $(O)/sentinel) --jobs $(JOBS)

test: ## install what is missing, then run everything that CI runs
	@tools/bootstrap
	@tools/test-report ci

check-all: ## the long one: every compiler and sanitizer, all tests, ten minutes of fuzzing a target
	@tools/bootstrap
	@tools/test-report all

# --- using it ----------------------------------------------------------------------------------------------------

.PHONY: bootstrap run bench bench-flood bench-guard bench-limits bench-tunnels install uninstall clean help
bootstrap: ## install what building, testing and benching need
	@tools/bootstrap

run: ## install what is missing, build, and start on config/sentinel.kdl
	@tools/bootstrap build
	+$(Q)$(MAKE) --no-print-directory all
	@exec $(BUILD)/release/sentinel run --config config/sentinel.kdl

BENCH_PROGRAMS := $(addprefix $(O)/selftests/bench/,loadgen loadgen_tls origin)
bench: all $(BENCH_PROGRAMS) ## compare with nginx and HAProxy: ROUNDS= SECONDS= ONLY=
	@selftests/bench/run --binary $(abspath $(O)/sentinel) --tools $(O)/selftests/bench \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--only $(ONLY))

bench-tunnels: all $(BENCH_PROGRAMS) ## compare the engines that move tunnels (root): ROUNDS= SECONDS=
	@selftests/bench/tunnels --binary $(abspath $(O)/sentinel) --tools $(O)/selftests/bench \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))

bench-limits: all $(BENCH_PROGRAMS) $(O)/selftests/bench/uring_poll.so ## what a rate-limit costs, local (callgrind) and in Redis: ROUNDS= SECONDS= ONLY=
	@selftests/bench/limits --binary $(abspath $(O)/sentinel) --tools $(O)/selftests/bench \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(ONLY)

# What the guard costs a packet (root).
$(O)/selftests/bpf/bench_guard.o: CPPFLAGS += -DBENCH_OBJECT='"$(abspath $(BUILD)/bpf/bench_guard.bpf.o)"'
$(O)/selftests/bpf/bench_guard.o: | $(SKELETONS)
$(eval $(call link_rule,$(O)/selftests/bpf/bench_guard,selftests/bpf/bench_guard.c,fastpath base))
bench-guard: $(O)/selftests/bpf/bench_guard $(BUILD)/bpf/bench_guard.bpf.o ## what the guard costs a packet, against an empty program (root)
	@$(O)/selftests/bpf/bench_guard

$(O)/selftests/bench/flood_send.o: | $(BUILD)/bpf/flood_send.skel.h
bench-flood: all $(O)/selftests/bench/flood_send $(BUILD)/bpf/flood_drop.bpf.o ## a flood against the guard and nftables (root): JSON=1
	@selftests/bench/flood --binary $(abspath $(O)/sentinel) --tools $(O)/selftests/bench \
		--drop $(BUILD)/bpf/flood_drop.bpf.o $(if $(JSON),--json)

$(O)/selftests/bench/loadgen $(O)/selftests/bench/loadgen_tls: $(O)/selftests/bench/measure.o
$(O)/selftests/bench/%: $(O)/selftests/bench/%.o
	$(call msg,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(O)/selftests/bench/%.so: selftests/bench/%.c
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -fPIC -shared -Wall -Wextra -Werror -o $@ $<

install: all ## copy the binary, manual pages, unit and default configuration below DESTDIR/PREFIX
	install -D -m 0755 $(O)/sentinel $(DESTDIR)$(PREFIX)/sbin/sentinel
	install -D -m 0644 docs/man/sentinel.8 $(DESTDIR)$(PREFIX)/share/man/man8/sentinel.8
	install -D -m 0644 docs/man/sentinel.kdl.5 $(DESTDIR)$(PREFIX)/share/man/man5/sentinel.kdl.5
	install -d $(DESTDIR)/lib/systemd/system
	sed 's|@sbindir@|$(PREFIX)/sbin|g' config/sentinel.service > $(DESTDIR)/lib/systemd/system/sentinel.service
	test -e $(DESTDIR)/etc/sentinel/sentinel.kdl || \
		install -D -m 0644 config/sentinel.kdl $(DESTDIR)/etc/sentinel/sentinel.kdl

uninstall: ## remove what install copied, but not the configuration
	rm -f $(DESTDIR)$(PREFIX)/sbin/sentinel $(DESTDIR)$(PREFIX)/share/man/man8/sentinel.8 \
		$(DESTDIR)$(PREFIX)/share/man/man5/sentinel.kdl.5 $(DESTDIR)/lib/systemd/system/sentinel.service

clean: ## remove build/
	rm -rf $(BUILD)

help: ## print this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sort | \
		while IFS='	' read -r name text; do printf '  %-20s %s\n' "$$name" "$$text"; done
	@echo '  unit-<folder>        run the unit tests of one folder'

-include $(shell find $(O) $(BUILD)/bpf -name '*.d' 2>/dev/null)
