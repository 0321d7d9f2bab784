#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and the demo need on a bare Debian 12. Argument: none (everything), "demo" (no test
# programs), "quiet" (everything, silent when nothing is missing). Without root it only tells what is missing.
set -e

# building the module and build/iip
build="build-essential pkg-config apache2-dev libapr1-dev libaprutil1-dev libtiff-dev libjpeg62-turbo-dev libpng-dev zlib1g-dev \
libwebp-dev libopenjp2-7-dev liblcms2-dev libdeflate-dev libavif-dev libgif-dev libcurl4-openssl-dev libjansson-dev librsvg2-dev libexpat1-dev libssl-dev libheif-dev libjxl-dev \
libmemcached-dev"
# the demo and the tests: a server, pictures, viewers
demo="apache2 python3 libvips-tools plasma-workspace-wallpapers ca-certificates"
# the tests alone
check="libcmocka-dev python3-pytest python3-pytest-xdist python3-numpy python3-tifffile python3-pil imagemagick libtiff-tools libjpeg-turbo-progs gdal-bin liblcms2-utils \
libopenjp2-tools grokj2k-tools libavif-bin libheif-examples libjxl-tools libimage-exiftool-perl poppler-utils \
valgrind clang libclang-rt-14-dev clang-format curl openssl chromium wrk iipimage-server libapache2-mod-fcgid libopenslide-dev vsftpd python3-pyftpdlib"
# JPIP: pictures, and the other stores of channels
check="$check memcached redis-server"

case $1 in
demo) wanted="$build $demo" ;;
*) wanted="$build $demo $check" ;;
esac
# node of another origin will do
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || wanted="$wanted nodejs npm"

missing=
for p in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
    [ "$1" = quiet ] || echo "all packages are there"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "missing packages:$missing" >&2
    echo "install them as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# a server that the package would start has no business here: the tests and the demo run their own
policy=/usr/sbin/policy-rc.d
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && trap 'rm -f $policy' EXIT; }
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing
