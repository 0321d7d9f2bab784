# mod_iip: see README.md. Everything is built below build/; nothing else is written.
#
#   make            build/mod_iip.so, build/iip (the module without a server), build/libiip.a
#   make deps       install what building, testing and the demo need (Debian, as root)
#   make demo       sample pyramids, a private httpd on loopback, a viewer page
#   make check      all tests            make lint | asan | tsan | valgrind | fuzz | bench | soak
#   make install    module and header into httpd (apxs)
#
# Variants are the same build in another folder with other flags: make BUILD=build/asan SAN=address,undefined

BUILD   ?= build
SAN     ?=
APXS    ?= apxs
DEPS    := tests/deps.sh
PYTHON  := /usr/bin/python3

ifeq ($(filter deps demo check install-deps clean,$(MAKECMDGOALS)),)
ifeq ($(shell command -v $(APXS)),)
$(error $(APXS) is missing: run "make deps" as root first, or name it by APXS=)
endif
endif

CC         := $(or $(CC_OVERRIDE),$(shell $(APXS) -q CC 2>/dev/null),gcc)
HTTPD_INC  := $(shell $(APXS) -q INCLUDEDIR 2>/dev/null)
MODULES_DIR = $(shell $(APXS) -q LIBEXECDIR 2>/dev/null)
APR_FLAGS  := $(shell apr-1-config --includes --cppflags 2>/dev/null)
APU_FLAGS  := $(shell apu-1-config --includes 2>/dev/null)
APR_LIBS   := $(shell apr-1-config --link-ld 2>/dev/null) $(shell apu-1-config --link-ld 2>/dev/null)
LIBS_NEEDED := libtiff-4 libjpeg libpng zlib libwebp libopenjp2
# Used where installed: each found one defines IIP_HAVE_<NAME>; its files are empty without
LIBS_WANTED := lcms2 libavif libdeflate libheif libjxl libmemcached libcurl jansson librsvg-2.0 expat libcrypto
LIBS_FOUND  := $(foreach l,$(LIBS_WANTED),$(shell pkg-config --exists $(l) 2>/dev/null && echo $(l)))
HAVE_GIF    := $(shell test -f /usr/include/gif_lib.h && echo 1)
HAVE        := $(foreach l,$(LIBS_FOUND),-DIIP_HAVE_$(shell echo $(l:lib%=%) | sed 's/-.*//' | tr a-z A-Z)) $(if $(HAVE_GIF),-DIIP_HAVE_GIF) \
               $(if $(and $(filter libcurl,$(LIBS_FOUND)),$(filter jansson,$(LIBS_FOUND))),-DIIP_HAVE_JOBS)
LIB_CFLAGS := $(HAVE) $(shell pkg-config --cflags $(LIBS_NEEDED) $(LIBS_FOUND) 2>/dev/null)
LIB_LIBS   := $(shell pkg-config --libs $(LIBS_NEEDED) $(LIBS_FOUND) 2>/dev/null) $(if $(HAVE_GIF),-lgif) -lm -lpthread

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
            -Wno-unused-parameter -Werror
CFLAGS   ?= -O2 -g
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DIIP_ASAN)
# PLAIN_C=1 leaves out every vectorised loop: the plain twins are built and tested by it
ALLFLAGS  = -std=gnu11 -fPIC -fvisibility=hidden -fstack-protector-strong $(WARN) $(CFLAGS) $(SANFLAGS) \
            $(if $(PLAIN_C),-DIIP_PLAIN_C) -Isrc $(APR_FLAGS) $(LIB_CFLAGS) $(EXTRA)

CORE_SRC := $(sort $(filter-out src/httpd/% src/tool/%,$(wildcard src/*.c src/*/*.c)))
MOD_SRC  := mod_iip.c $(sort $(wildcard src/httpd/*.c))
TOOL_SRC := $(wildcard src/tool/*.c)
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o)
MOD_OBJ  := $(MOD_SRC:%.c=$(BUILD)/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/%.o)
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

# V=1 shows the commands
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

all: $(BUILD)/mod_iip.so $(BUILD)/libiip.a $(BUILD)/iip $(BUILD)/mod_iip.h

$(BUILD)/libiip.a: $(CORE_OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^

# Symbols of httpd and apr resolve when httpd loads the module
$(BUILD)/mod_iip.so: $(MOD_OBJ) $(BUILD)/libiip.a
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(CFLAGS) $(SANFLAGS) -o $@ $(MOD_OBJ) $(BUILD)/libiip.a $(LIB_LIBS)

$(BUILD)/iip: $(TOOL_OBJ) $(BUILD)/libiip.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) -o $@ $^ $(LIB_LIBS) $(APR_LIBS)

# For other modules: src/mod_iip.h with the marked parts of our own headers in place of their includes
$(BUILD)/mod_iip.h: src/mod_iip.h src/iip.h src/source/source.h src/codec/codec.h Makefile
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)awk '!/^#include "/ { print; next } { gsub(/"/, "", $$2); f = "src/" $$2; while ((getline l < f) > 0) { \
	  if (l ~ /^\/\* >> mod_iip\.h/) { on = 1; l = "" } if (l ~ /^\/\* << /) on = 0; if (on) print l } }' \
	  src/mod_iip.h >$@

$(MOD_OBJ): ALLFLAGS += -I$(HTTPD_INC) $(APU_FLAGS)
$(BUILD)/src/cache/l2_apr.o: ALLFLAGS += $(APU_FLAGS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALLFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libiip.a
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALLFLAGS) -Itests/unit -MMD -MP -o $@ $< $(BUILD)/libiip.a $(LIB_LIBS) -lcmocka $(APR_LIBS)

# A fuzz target is LLVMFuzzerTestOneInput alone; replay.c runs it over files, clang's libFuzzer over everything
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(BUILD)/libiip.a
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALLFLAGS) -MMD -MP -o $@ $< $(if $(LIBFUZZER),-fsanitize=fuzzer,tests/fuzz/replay.c) $(BUILD)/libiip.a $(LIB_LIBS) \
	  $(APR_LIBS)

units: $(UNITS)
fuzzers: $(FUZZERS)

deps:
	sh $(DEPS)

lint: $(BUILD)/iip
	sh tests/lint.sh $(BUILD)

check:
	sh $(DEPS) quiet
	$(PYTHON) tests/run.py

demo:
	sh $(DEPS) demo
	$(MAKE) --no-print-directory all
	$(PYTHON) tests/demo/demo.py

asan:
	$(MAKE) BUILD=build/asan SAN=address,undefined all units fuzzers
	$(PYTHON) tests/run.py --only asan

tsan:
	$(MAKE) BUILD=build/tsan SAN=thread all units
	$(PYTHON) tests/run.py --only tsan

valgrind: all
	$(PYTHON) tests/run.py --only valgrind

FUZZ_SECONDS ?= 60
fuzz:
	$(MAKE) BUILD=build/libfuzzer CC_OVERRIDE=clang LIBFUZZER=1 SAN=fuzzer-no-link,address,undefined fuzzers
	sh tests/fuzz/long.sh build/libfuzzer/fuzz $(FUZZ_SECONDS)

# SOAK_JOBS jobs while all that can be killed is killed; two minutes of graceful restarts under load; the memory of a
# child over 100,000 requests; what tiles cost while memcached is ill
SOAK_JOBS ?= 200
soak: all
	IIP_SOAK=$(SOAK_JOBS) $(PYTHON) -m pytest -q -p no:cacheprovider tests/http/test_jobs_kills.py
	IIP_SOAK=1 $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/http/test_stability.py -k "graceful_under_load or memory_growth"
	IIP_SOAK=1 $(PYTHON) -m pytest -q -s -p no:cacheprovider tests/http/test_memcached.py -k test_pace

bench: all
	$(PYTHON) tests/bench/bench.py
	$(PYTHON) tests/bench/sources.py
	$(PYTHON) tests/bench/streams.py
	$(PYTHON) tests/bench/sizing.py

# The README's generated parts: directive table, bench figures
readme: $(BUILD)/iip
	$(PYTHON) tests/readme.py $(BUILD)

# DESTDIR: for packages
install: all
	$(if $(DESTDIR),mkdir -p $(DESTDIR)$(MODULES_DIR) $(DESTDIR)$(HTTPD_INC))
	$(APXS) $(if $(DESTDIR),-S LIBEXECDIR=$(DESTDIR)$(MODULES_DIR)) -i -n iip $(BUILD)/mod_iip.so
	install -m 644 $(BUILD)/mod_iip.h $(DESTDIR)$(HTTPD_INC)/mod_iip.h

clean:
	rm -rf build

.DELETE_ON_ERROR:
# not those of variants, which may be writing them
-include $(shell find $(BUILD)/src $(BUILD)/unit $(BUILD)/fuzz $(BUILD)/*.d -name '*.d' 2>/dev/null)

.PHONY: all units fuzzers readme deps lint check demo asan tsan valgrind fuzz bench soak install clean
