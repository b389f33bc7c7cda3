# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets and knobs.

VERSION := 0.1.0

# ---- Knobs -------------------------------------------------------------------

PREFIX ?= /usr/local
DESTDIR ?=
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
CC ?= cc
AR ?= ar
PROTOC_C ?= protoc-c
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
LDFLAGS ?=
SAN ?=
FAULTS ?=
V ?= 0

B := build
comma := ,
ifeq ($(SAN),)
O := $(B)
else ifeq ($(SAN),address$(comma)undefined)
O := $(B)/san
else
O := $(B)/san-$(subst $(comma),-,$(SAN))
endif
ifneq ($(FAULTS),)
O := $(B)/faults
endif
G := $(B)/gen

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
endif

# ---- Flags -------------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
CPP_ALL := -D_GNU_SOURCE -DDAXFS_VERSION_STRING='"$(VERSION)"' -I. -I$(G)
CPP_ALL += $(if $(FAULTS),-DDAXFS_FAULTS)
C_ALL := -std=gnu11 $(WARN) -pthread -fPIE
LD_ALL := -pthread -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifeq ($(SAN),)
C_ALL += -fstack-protector-strong
CPP_ALL += $(if $(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
else
C_ALL += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LD_ALL += -fsanitize=$(SAN)
endif

# Libraries a program, by pkg-config name; --as-needed drops what it does not
# use. A missing one is reported with the command that installs it.
PKGS_daxfs := json-c
PKGS_daxfs-fuse := fuse3 json-c libseccomp libcap
PKGS_daxfs-keeper := json-c
PKGS_daxfs-snapshotter := json-c sqlite3 inih libpcre2-8 libsystemd \
	libseccomp libcap
PKGS_daxfs-grpc := json-c libnghttp2 libprotobuf-c inih libsystemd \
	libseccomp libcap libmicrohttpd
PKGS_ALL := $(sort $(foreach p,daxfs daxfs-fuse daxfs-snapshotter daxfs-grpc,$(PKGS_$(p))))

NOBUILD := help clean distclean lint format install-deps
ifneq ($(filter-out $(NOBUILD),$(or $(MAKECMDGOALS),all)),)
# check, kcheck and demo install what is missing before they build.
ifeq ($(filter check check-long kcheck demo bench,$(MAKECMDGOALS)),)
PKG_MISSING := $(shell for p in $(PKGS_ALL); do \
	$(PKG_CONFIG) --exists $$p 2>/dev/null || echo $$p; done)
ifneq ($(PKG_MISSING),)
$(error pkg-config does not find: $(PKG_MISSING). On Debian, `make install-deps` installs what a build needs)
endif
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS_ALL))
endif
endif

# ---- Rooms -------------------------------------------------------------------

PROTOS := $(wildcard driver/grpc/*.proto)
IDLS := $(wildcard driver/*/*.varlink)
PB_C := $(patsubst driver/grpc/%.proto,$(G)/%.pb-c.c,$(PROTOS))
GEN_H := $(PB_C:.c=.h) $(patsubst %,$(G)/%.h,$(notdir $(IDLS)))

SRC_core := $(wildcard core/*.c)
SRC_driver := $(foreach r,common ipc region service image,$(wildcard driver/$(r)/*.c))
SRC_daxfs := $(wildcard cli/*.c)
SRC_daxfs-fuse := $(wildcard driver/fuse/*.c)
SRC_daxfs-keeper := $(wildcard driver/keeper/*.c)
SRC_daxfs-snapshotter := $(wildcard driver/snapshotter/*.c)
SRC_daxfs-grpc := $(wildcard driver/grpc/*.c)

MAN := $(wildcard docs/man/*.[158])

PROGRAMS := $(foreach p,daxfs daxfs-fuse daxfs-keeper daxfs-snapshotter daxfs-grpc,$(if $(SRC_$(p)),$(p)))
LINKS := $(if $(SRC_daxfs),mkdaxfs daxfs-branch daxfs-inspect)

obj = $(patsubst %.c,$(O)/obj/%.o,$(1))
OBJ_core := $(call obj,$(SRC_core))
OBJ_driver := $(call obj,$(SRC_driver))
OBJ_grpc_pb := $(patsubst $(G)/%.c,$(O)/obj/gen/%.o,$(PB_C))
LIBS := $(if $(SRC_driver),$(O)/libdriver.a) $(if $(SRC_core),$(O)/libdaxfs.a)

# What unit tests may call inside a program: everything but its main file.
PARTS := $(foreach p,$(PROGRAMS),$(O)/lib$(p)-parts.a)
SRC_unit := $(wildcard tests/unit/test_*.c)
SRC_model := $(wildcard tests/unit/model*.c)
SRC_unit_common := $(filter-out $(SRC_unit) $(SRC_model),$(wildcard tests/unit/*.c))
UNIT := $(patsubst tests/unit/%.c,$(O)/unit/%,$(SRC_unit))
SRC_crash := $(wildcard tests/crash/*.c)
SRC_tools := $(wildcard tests/tools/*.c)
TOOLS := $(patsubst tests/tools/%.c,$(O)/tools/%,$(SRC_tools))

# ---- Targets -----------------------------------------------------------------

.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
.PHONY: all help programs unit model threads crash tools install uninstall clean \
	distclean check check-long kcheck lint format demo bench install-deps FORCE

all: programs ## build libraries and programs into build/
programs: $(LIBS) $(addprefix $(O)/,$(PROGRAMS) $(LINKS))

crash: $(O)/crash
model: $(O)/unit/test_core_model
threads: $(O)/unit/test_core_threads
unit: $(UNIT) ## build the unit tests (use with SAN=address,undefined)
tools: $(TOOLS) ## build the small programs that tests use
	@:

help: ## show this text
	@echo 'Targets:'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		sort | while IFS='|' read -r t h; do printf '  %-14s %s\n' "$$t" "$$h"; done
	@echo 'Knobs:'
	@echo '  V=1            show the commands'
	@echo '  SAN=LIST       sanitizers, e.g. SAN=address,undefined; goes to build/san'
	@echo '  FAULTS=1       places where tests kill a process; goes to build/faults'
	@echo '  CC= CFLAGS= LDFLAGS=   as usual; CFLAGS defaults to "-O2 -g"'
	@echo '  PREFIX= DESTDIR=       where install goes, default /usr/local'
	@echo '  UNITDIR= SYSUSERSDIR= TMPFILESDIR=   likewise, below PREFIX/lib'
	@echo '  T="bats/10-x …"        which tests make check runs, default all'
	@echo '  DEMO_SNAPSHOTTER=overlayfs   make demo with another snapshotter, to compare'

# Units name programs by their path.
UNITS := $(wildcard contrib/systemd/*.service contrib/systemd/*.socket contrib/systemd/*.target)

install: all ## install programs, man pages, units, contrib files under $(DESTDIR)$(PREFIX)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/daxfs'
	$(if $(PROGRAMS),install -m 755 $(addprefix $(O)/,$(PROGRAMS)) '$(DESTDIR)$(PREFIX)/bin')
	for l in $(LINKS); do ln -sf daxfs '$(DESTDIR)$(PREFIX)/bin/'$$l || exit 1; done
	$(if $(wildcard contrib),cp -R contrib/. '$(DESTDIR)$(PREFIX)/share/daxfs/')
	for m in $(MAN); do install -Dm 644 -t \
		'$(DESTDIR)$(PREFIX)/share/man/man'$${m##*.} $$m || exit 1; done
	install -d '$(DESTDIR)$(UNITDIR)'
	for u in $(UNITS); do sed 's,/usr/bin/daxfs,$(PREFIX)/bin/daxfs,' $$u \
		>'$(DESTDIR)$(UNITDIR)'/$${u##*/} || exit 1; done
	install -Dm 644 contrib/systemd/sysusers.conf '$(DESTDIR)$(SYSUSERSDIR)/daxfs.conf'
	install -Dm 644 contrib/systemd/tmpfiles.conf '$(DESTDIR)$(TMPFILESDIR)/daxfs.conf'

uninstall: ## remove what install puts there
	for p in $(PROGRAMS) $(LINKS); do rm -f '$(DESTDIR)$(PREFIX)/bin/'$$p || exit 1; done
	rm -rf '$(DESTDIR)$(PREFIX)/share/daxfs'
	for m in $(notdir $(MAN)); do \
		rm -f '$(DESTDIR)$(PREFIX)/share/man/man'$${m##*.}/$$m || exit 1; done
	for u in $(notdir $(UNITS)); do rm -f '$(DESTDIR)$(UNITDIR)'/$$u || exit 1; done
	rm -f '$(DESTDIR)$(SYSUSERSDIR)/daxfs.conf' '$(DESTDIR)$(TMPFILESDIR)/daxfs.conf'

install-deps: ## apt-get install what a build needs (Debian 12, as root)
	@scripts/install-deps build

# Targets that take minutes use all cores unless told otherwise.
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

check: ## install what tests need, build, run all tests
	@scripts/install-deps build check vm
	+@$(MAKE) --no-print-directory $(PARALLEL) programs tools crash model
	+@$(MAKE) --no-print-directory $(PARALLEL) unit crash SAN=address,undefined
	+@$(MAKE) --no-print-directory $(PARALLEL) threads SAN=thread
	+@$(MAKE) --no-print-directory $(PARALLEL) programs FAULTS=1
	@tests/run $(T)

check-long: ## as check, with the long variants of tests (LONG=1)
	+@LONG=1 $(MAKE) --no-print-directory check

kcheck: ## compile core/ against Debian's kernel headers, objects only
	@scripts/install-deps kcheck
	@tests/kcheck/run

lint: ## clang-format, cppcheck, shellcheck, SPDX lines
	@scripts/install-deps lint
	@scripts/lint

format: ## rewrite the C sources with clang-format
	@scripts/install-deps lint
	@scripts/lint --format

bench: ## time daxfs, overlayfs and tmpfs side by side (as root)
	@scripts/install-deps build bench
	+@$(MAKE) --no-print-directory $(PARALLEL) programs tools
	@bench/run
	@bench/snapshotter/run

demo: ## run three containers on daxfs branches and clean up
	@scripts/install-deps build demo
	+@$(MAKE) --no-print-directory $(PARALLEL) programs
	@BUILD='$(abspath $(O))' demo/run

clean: ## remove build/ but for the downloads in build/cache
	@if [ -d $(B) ]; then find $(B) -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +; fi

distclean: ## remove build/
	rm -rf $(B)

# ---- Generated ---------------------------------------------------------------

$(G)/%.pb-c.c $(G)/%.pb-c.h &: driver/grpc/%.proto
	$(say) PROTOC $<
	@mkdir -p $(G)
	$(Q)$(PROTOC_C) --proto_path=driver/grpc --c_out=$(G) $<

# io.daxfs.X.varlink -> static const char io_daxfs_X_varlink[].
define idl_rule
$(G)/$(notdir $(1)).h: $(1) scripts/text-to-header
	$$(say) GEN $$@
	@mkdir -p $(G)
	$$(Q)scripts/text-to-header $$< >$$@
endef
$(foreach f,$(IDLS),$(eval $(call idl_rule,$(f))))

# Objects follow a change of flags, archives one of the list of sources.
quote = '$(subst ','\'',$(1))'
$(O)/flags: text = $(CC) $(CPP_ALL) $(C_ALL) $(CFLAGS) $(LD_ALL) $(LDFLAGS) $(PKG_CFLAGS)
$(O)/sources: text = $(SRC_core) $(SRC_driver) $(foreach p,$(PROGRAMS),$(SRC_$(p)))
$(O)/flags $(O)/sources: FORCE
	@mkdir -p $(O)
	@echo $(call quote,$(text)) | cmp -s - $@ || echo $(call quote,$(text)) >$@

# ---- Compile and link --------------------------------------------------------

compile = $(CC) $(CPP_ALL) $(PKG_CFLAGS) $(C_ALL) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/obj/%.o: %.c $(O)/flags | $(GEN_H)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(compile)

$(O)/obj/gen/%.o: $(G)/%.c $(O)/flags | $(GEN_H)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(compile)

$(O)/libdaxfs.a: $(OBJ_core)
$(O)/libdriver.a: $(OBJ_driver)
$(O)/%.a: $(O)/sources
	$(say) AR $@
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

OBJ_daxfs-grpc_extra := $(OBJ_grpc_pb)
define program_rules
$(O)/$(1): $(call obj,$(SRC_$(1))) $(OBJ_$(1)_extra) $(LIBS)
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LD_ALL) $$(LDFLAGS) -o $$@ $$^ $$(shell $$(PKG_CONFIG) --libs $(PKGS_$(1)))

$(O)/lib$(1)-parts.a: $(filter-out %/main.o,$(call obj,$(SRC_$(1)))) $(OBJ_$(1)_extra)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rules,$(p))))

$(addprefix $(O)/,$(LINKS)): $(O)/daxfs
	@ln -sf daxfs $@

$(O)/unit/%: $(O)/obj/tests/unit/%.o $(call obj,$(SRC_unit_common)) $(PARTS) $(LIBS)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LD_ALL) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(shell $(PKG_CONFIG) --libs cmocka $(PKGS_ALL))

# Every store of core/ is recorded: see tests/crash/record.h. Not with SAN.
OBJ_recorded := $(patsubst core/%.c,$(O)/obj/recorded/%.o,$(filter-out core/port_%,$(SRC_core)))
OBJ_recorded += $(call obj,$(filter core/port_%,$(SRC_core)))
$(O)/obj/recorded/%.o: core/%.c $(O)/flags
	$(say) CC '$< (recorded)'
	@mkdir -p $(@D)
	$(Q)$(compile) -O1 -fno-builtin -Wno-maybe-uninitialized \
		-fsanitize=thread -U__SANITIZE_THREAD__ -include tests/crash/record_core.h

$(O)/crash: $(call obj,$(SRC_crash)) $(if $(SAN),$(O)/libdaxfs.a,$(OBJ_recorded))
	$(say) LD $@
	$(Q)$(CC) $(LD_ALL) $(LDFLAGS) -o $@ $^ -lcmocka

# These need the engine alone, and so are quickly built with other flags.
$(O)/unit/test_core_model: $(call obj,$(SRC_model))
$(O)/unit/test_core_model $(O)/unit/test_core_threads: $(O)/unit/%: \
		$(O)/obj/tests/unit/%.o $(O)/libdaxfs.a
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LD_ALL) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) \
		$(shell $(PKG_CONFIG) --libs cmocka)

$(O)/tools/%: $(O)/obj/tests/tools/%.o
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LD_ALL) $(LDFLAGS) -o $@ $^

-include $(wildcard $(O)/obj/*/*.d $(O)/obj/*/*/*.d)
